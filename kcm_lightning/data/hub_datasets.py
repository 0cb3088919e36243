"""Images, texts and captions of the Hugging Face hub."""

from pathlib import Path
from typing import Any

from kcm_lightning.data.hub_export import HubSource, export_captions, export_images, export_texts
from kcm_lightning.data.image_folder import ImageFolder
from kcm_lightning.data.mscoco import MSCOCO
from kcm_lightning.data.text_table import PARTS, TextTable


class HubImages(ImageFolder):
    """Images with classes of a data set on the hub, or in a local folder in its formats.

    Without a validation or test split, these are parted from the training split by a seed.

    Args:
        name: name on the hub, or folder.
        config: which of the data set's configurations; null, the default, for its only one.
        image: column of the image.
        label: column of the class.
        prepared: folder for the images, as files and decoded; made on the first run.
        **options: those of `ImageFolder` but root, path and split.
    """

    def __init__(
        self,
        name: str,
        config: str | None = None,
        image: str = "image",
        label: str = "label",
        prepared: str = "runs/prepared",
        **options: Any,
    ):
        source = HubSource(name, config, [image, label], prepared)
        super().__init__(root=name, prepared=prepared, **options)
        self.source, self.image_column, self.label_column = source, image, label

    def _listed(self) -> Any:
        if self._listing is None:
            self.root = export_images(self.source, self.image_column, self.label_column)
            self.path, self.label, self.split = "path", "label", "split"
        return super()._listed()


class HubTexts(TextTable):
    """Texts with classes of a data set on the hub, or in a local folder in its formats.

    Without a validation or test split, these are parted from the training split by a seed.

    Args:
        name: name on the hub, or folder.
        config: which of the data set's configurations; null, the default, for its only one.
        text: column of the text; or a list of several, whose texts are put one below the other.
        label: column of the class.
        group: column whose equal values stay on one side; null, the default, parts by the text alone.
        prepared: folder for the texts, as tables and tokenized; made on the first run.
        **options: those of `TextTable` but the paths.
    """

    def __init__(
        self,
        name: str,
        config: str | None = None,
        text: str | list[str] = "text",
        label: str = "label",
        group: str | None = None,
        prepared: str = "runs/prepared",
        **options: Any,
    ):
        columns = [text] if isinstance(text, str) else text
        source = HubSource(name, config, [*columns, label, *([group] if group else [])], prepared)
        super().__init__(path=name, text=text, label=label, group=group, prepared=prepared, **options)
        self.source, self.name = source, Path(name).name
        self.paths = {}

    def prepare_data(self) -> None:
        self._export()
        super().prepare_data()

    def setup(self, stage: str | None = None) -> None:
        self._export()
        super().setup(stage)

    def _export(self) -> None:
        if not self.paths:
            found = export_texts(self.source, self.text, self.label, self.group)
            self.paths = {part: found[part] for part in PARTS if part in found}


class HubCaptions(MSCOCO):
    """Images with captions of a data set on the hub, or in a local folder in its formats.

    Args:
        name: name on the hub, or folder.
        config: which of the data set's configurations; null, the default, for its only one.
        image: column of the image.
        caption: column of the caption, or of a list of captions; or a list of several such columns.
        prepared: folder for the images, as files and decoded; made on the first run.
        **options: those of `MSCOCO` but root, captions, annotations, images and download.
    """

    def __init__(
        self,
        name: str,
        config: str | None = None,
        image: str = "image",
        caption: str | list[str] = "caption",
        prepared: str = "runs/prepared",
        **options: Any,
    ):
        columns = [caption] if isinstance(caption, str) else caption
        source = HubSource(name, config, [image, *columns], prepared)
        super().__init__(root=name, captions="captions.json", prepared=prepared, **options)
        self.source, self.image_column, self.caption_columns = source, image, columns
        self._is_exported = False

    def _read(self) -> Any:
        if not self._is_exported:
            self.root = export_captions(self.source, self.image_column, self.caption_columns)
            self._is_exported = True
        return super()._read()

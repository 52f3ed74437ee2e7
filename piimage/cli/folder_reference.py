"""The keys of service.yml as a page, made from the models.

python -m piimage.cli.folder_reference > docs/reference/service-yml.md
"""

from __future__ import annotations

from piimage.cli.output import put
from piimage.config.reference import folder_reference

if __name__ == "__main__":
    put(folder_reference())

"""Images: processes that have imported what hosts need, and from which hosts are forked.

`modules` is what is imported, and how it is found out that a module makes forks unsafe. `process` is an
image's own life. `nursery` is the anchor's side: what each image imports, and which hosts it bears.
`protocol` is what the two say to each other. `interpreters` takes the nursery's place where forks are not
safe.
"""

from control_plane.runtime.images.modules import forget_users_modules, freeze, import_base

__all__ = ["forget_users_modules", "freeze", "import_base"]

"""How chapters and books look as text. Markdown, one line a paragraph; knows nothing of I/O."""

from __future__ import annotations

from collections.abc import Sequence

from components.agents.story.models import Draft, StoryRequest, World


def chapter_text(draft: Draft) -> str:
    """Return a chapter's paragraphs, without its heading."""
    return "\n\n".join(" ".join(sentences) for sentences in draft.paragraphs)


def bind(request: StoryRequest, world: World, drafts: Sequence[Draft]) -> str:
    """Return the whole book."""
    parts = [f"# {request.title}", f"*{request.premise}*"]
    for number, draft in enumerate(drafts, start=1):
        parts += [f"## {number}. {draft.heading}", chapter_text(draft)]
    parts.append(f"*Here ends “{request.title}”, as it is told in {world.realm}.*")
    return "\n\n".join(parts) + "\n"

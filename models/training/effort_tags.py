"""Effort tags for a chat template that has none: the new template adds them to its prompt's end."""

from collections.abc import Mapping

_DEFAULT = (
    "{%- if enable_thinking is not defined -%}"
    "{%- set enable_thinking = reasoning_effort is not defined or reasoning_effort != 'none' -%}"
    "{%- endif -%}"
    "{%- if thinking is not defined -%}{%- set thinking = enable_thinking -%}{%- endif -%}"
)
"""`thinking` is what the templates of DeepSeek V3.1 and Granite call it."""
_HEAD = "{%- set tops_prompt -%}{{ '' }}"
_TAIL = (
    "{{ '' }}{%- endset -%}{%- set tops_parts = tops_prompt.split('<think>') -%}"
    "{%- set tops_tag = {tags}[reasoning_effort | default('', true)] | default('', true)"
    " if add_generation_prompt else '' -%}"
    "{%- if tops_tag and tops_parts | length > 1"
    " and tops_parts[-1].strip() in ['', '</think>'] -%}"
    "{{ tops_parts[:-1] | join('<think>') }}{{ tops_tag }}{{ '<think>' ~ tops_parts[-1] }}"
    "{%- else -%}{{ tops_prompt }}{{ tops_tag }}{%- endif -%}"
)


def tagged(template: str, tags: Mapping[str, str]) -> str:
    """A chat template that adds the tag of `reasoning_effort` to its generation prompt.

    The tag is the last part of the prompt, before a reasoning block that the prompt opens or closes
    empty: it is never a part of the reasoning. Without `reasoning_effort`, or without a tag for it,
    the new template renders like the old one. The model thinks at every effort but `none`, unless
    the request sets `enable_thinking` or `thinking`, whatever the old template's default was.
    """
    if not tags:
        return template
    pairs = ", ".join(f"{effort!r}: {tag!r}" for effort, tag in tags.items())
    # jinja drops one line break at the end of a template, which would be inside of this one
    original = template.removesuffix("\n")
    return f"{_DEFAULT}{_HEAD}{original}{_TAIL.replace('{tags}', f'{{{pairs}}}')}"

"""The user's own seccomp profile: `linux.seccomp` of the OCI runtime specification.

Sources: OCI runtime-spec 1.0.2, config-linux.md ("Seccomp"); runc 1.1, libcontainer/seccomp, which
refuses `flags` and has no listener to notify. runc ignores the extra fields of Docker's files
(`archMap`, `includes`), and would allow always what those files allow conditionally: they are
refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from piimage.errors import PiimageError
from piimage.oci.models import decode_json

_MOST_ARGUMENTS: Final = 5
_MOST_ERRNO: Final = 4095

Action = Literal[
    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
]  # fmt: skip
Architecture = Literal[
    "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64",
]  # fmt: skip
Operator = Literal[
    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
]  # fmt: skip
Errno = Annotated[int, Field(ge=0, le=_MOST_ERRNO)]
Word = Annotated[int, Field(ge=0, lt=2**64)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class _Argument(_Strict):
    index: Annotated[int, Field(ge=0, le=_MOST_ARGUMENTS)]
    value: Word
    value_two: Word = 0
    op: Operator


class _Rule(_Strict):
    names: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    action: Action
    errno_ret: Errno | None = None
    args: tuple[_Argument, ...] = ()


class _Profile(_Strict):
    default_action: Action
    default_errno_ret: Errno | None = None
    architectures: tuple[Architecture, ...] = ()
    syscalls: tuple[_Rule, ...] = ()


def read_profile(data: bytes, name: str) -> Mapping[str, Any]:
    """Return the profile in `data`, a file called `name`.

    Raises PiimageError ``oci.document`` for an invalid profile.
    """
    decoded = decode_json(data, name)
    try:
        _Profile.model_validate(decoded)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PiimageError("oci.document", f"{where}: {first['msg']}") from error
    return decoded

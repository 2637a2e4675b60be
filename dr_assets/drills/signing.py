"""Sign with an ECDSA key on P-256 that is kept in a file, and verify such signatures with public keys alone.

A signature is the DER of an ECDSA-Sig-Value over SHA-256, as `openssl dgst -sha256 -sign` makes it and as KMS returns it for
ECDSA_SHA_256 (KMS API reference, Sign: "DER-encoded object as defined by ANSI X9.62-2005 and RFC 3279 Section 2.2.3").
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dr_assets import files
from dr_assets.documents import Part
from dr_assets.errors import DrError

KEY_VARIABLE = "DR_SIGNING_KEY"
ALGORITHM = "ECDSA_SHA_256"
_ALGORITHM = ec.ECDSA(hashes.SHA256())


class SigningError(DrError):
    """Nothing was signed; the text says why and what to do."""


class Signature(Part):
    """A signature and the key to verify it with, which proves nothing by itself: whoever verifies must trust the key already.

    key: where the private key is: a KMS ARN, or `file:FINGERPRINT`. public_key: base64 of the DER SubjectPublicKeyInfo.
    signature: base64 of the DER ECDSA-Sig-Value.
    """

    key: str
    public_key: str
    algorithm: str
    signature: str


@dataclass(frozen=True)
class PublicKey:
    """A public key that is trusted: the DER of its SubjectPublicKeyInfo."""

    der: bytes

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the DER, as `openssl pkey -pubin -outform DER | sha256sum` prints it."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def pem(self) -> str:
        body = base64.encodebytes(self.der).decode().replace("\n", "")
        lines = [body[start : start + 64] for start in range(0, len(body), 64)]
        return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])

    def verifies(self, signature: Signature, payload: bytes) -> bool:
        """Whether this key made the signature over these bytes. False for whatever cannot be read."""
        try:
            key = serialization.load_der_public_key(self.der)
            if signature.algorithm != ALGORITHM or not isinstance(key, ec.EllipticCurvePublicKey):
                return False
            key.verify(base64.b64decode(signature.signature, validate=True), payload, _ALGORITHM)
        except (InvalidSignature, UnsupportedAlgorithm, binascii.Error, ValueError):
            return False
        return True


class Signer(Protocol):
    """Something that signs, such as a key in a file."""

    def sign(self, payload: bytes) -> Signature:
        """Raises SigningError."""

    def public_keys(self) -> list[PublicKey]:
        """The keys that `sign` may sign with. Raises SigningError where none can be had."""


class KeyFile:
    """Signs with a private key in a file (PKCS#8, PEM, P-256) that its owner alone can read."""

    def __init__(self, path: Path) -> None:
        """Raises SigningError for a file that is no such key, or that others may read."""
        try:
            mode = path.stat(follow_symlinks=False).st_mode
            data = files.read(path)
        except OSError as error:
            raise SigningError(
                f"The signing key {path} cannot be read ({error.strerror}). Correct {KEY_VARIABLE}."
            ) from None
        if stat.S_IMODE(mode) & 0o077:
            raise SigningError(f"The signing key {path} can be read by others. Run: chmod 600 {path}")
        try:
            key = serialization.load_pem_private_key(data, None)
        except (UnsupportedAlgorithm, TypeError, ValueError):  # the cause could quote the key
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise SigningError(
                f"{path} holds no private key on P-256 in PEM without a password. Make one: dr drill sign --new-key PATH"
            )
        self._key = key
        self._public = PublicKey(_der(key.public_key()))

    def sign(self, payload: bytes) -> Signature:
        signature = self._key.sign(payload, _ALGORITHM)
        return Signature(
            key=f"file:{self._public.fingerprint}",
            public_key=base64.b64encode(self._public.der).decode(),
            algorithm=ALGORITHM,
            signature=base64.b64encode(signature).decode(),
        )

    def public_keys(self) -> list[PublicKey]:
        return [self._public]


def configured() -> Signer | None:
    """The signer of this installation: the key file that $DR_SIGNING_KEY names, or None. Raises SigningError."""
    path = os.environ.get(KEY_VARIABLE)
    return KeyFile(Path(path)) if path else None


def trusted(pems: Iterable[Path] = ()) -> list[PublicKey]:
    """The keys in these PEM files; without any, those that this installation signs with. Raises SigningError."""
    given = [read_public_key(path) for path in pems]
    signer = None if given else configured()
    return signer.public_keys() if signer else given


def new_key(path: Path) -> PublicKey:
    """Make a private key in a new file that its owner alone can read; returns its public half. Raises SigningError."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        files.write(path, pem, mode=0o600, replace=False)
    except OSError as error:
        raise SigningError(f"No key was made: {path} cannot be written ({error.strerror}).") from error
    return PublicKey(_der(key.public_key()))


def read_public_key(path: Path) -> PublicKey:
    """A public key in a PEM file. Raises SigningError for anything else."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise SigningError(f"The public key {path} cannot be read ({error.strerror}).") from None
    except (UnsupportedAlgorithm, ValueError):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SigningError(f"{path} is no public key on an elliptic curve in PEM. `dr drill public-key` prints one.")
    return PublicKey(_der(key))


def _der(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

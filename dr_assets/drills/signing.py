"""Sign with an ECDSA key on P-256, in KMS or in a file, and verify such signatures with public keys alone.

A signature is the DER of an ECDSA-Sig-Value over SHA-256, as `openssl dgst -sha256 -sign` makes it and as KMS returns it for
ECDSA_SHA_256 (KMS API reference, Sign: "DER-encoded object as defined by ANSI X9.62-2005 and RFC 3279 Section 2.2.3").
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dr_assets import files
from dr_assets.documents import Part, quoted
from dr_assets.errors import DrError

if TYPE_CHECKING:
    from dr_assets.aws import Aws

KEY_VARIABLE = "DR_SIGNING_KEY"
ALGORITHM = "ECDSA_SHA_256"
_KEY_ARN = re.compile(r"arn:[\w-]+:kms:(?P<region>[a-z0-9-]+):[0-9]{12}:key/[\w-]+", re.ASCII)
ANSWER_SECONDS = 2.0  # what KMS has for each call: a region that is silent must not hold up a drill's end
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
    """Something that signs: a key in a file, or keys in KMS."""

    def sign(self, payload: bytes) -> Signature:
        """Raises SigningError, or as AWS calls do."""

    def public_keys(self) -> list[PublicKey]:
        """The keys that `sign` may sign with. Raises DrError where one of them cannot be had."""


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


class KmsKeys:
    """Signs with the first of several KMS keys (ECC_NIST_P256, SIGN_VERIFY) that answers, so that one region may be gone."""

    def __init__(self, arns: Sequence[str]) -> None:
        """Raises SigningError for what is no ARN of a key: an alias could be led to another key."""
        self._keys: list[tuple[str, str]] = []
        for arn in arns:
            found = _KEY_ARN.fullmatch(arn)
            if found is None:
                raise SigningError(f"{KEY_VARIABLE} has {quoted(arn)}, which is no ARN of a KMS key (…:key/ID).")
            self._keys.append((arn, found["region"]))

    def sign(self, payload: bytes) -> Signature:
        aws, failed = _aws(), []
        for arn, region in self._keys:
            try:
                return self._sign(aws, arn, region, payload)
            except DrError as error:
                failed.append(str(error))
        raise SigningError(f"No KMS key signed. {' '.join(failed)}")

    def _sign(self, aws: Aws, arn: str, region: str, payload: bytes) -> Signature:
        public = self._public_key(aws, arn, region)
        # RAW: KMS hashes the message itself, so that nothing depends on how a digest is passed.
        request = {"KeyId": arn, "Message": payload, "MessageType": "RAW", "SigningAlgorithm": ALGORITHM}
        try:
            answer = aws.client("kms", region).sign(**request)
            signature = Signature(
                key=answer["KeyId"],
                public_key=base64.b64encode(public.der).decode(),
                algorithm=ALGORITHM,
                signature=base64.b64encode(answer["Signature"]).decode(),
            )
        except Exception as error:
            raise _explained(error, "sign", region) from error
        if not public.verifies(signature, payload):
            raise SigningError(f"The signature that KMS made with {arn} does not fit its public key.")
        return signature

    def public_keys(self) -> list[PublicKey]:
        aws = _aws()
        return [self._public_key(aws, arn, region) for arn, region in self._keys]

    @staticmethod
    def _public_key(aws: Aws, arn: str, region: str) -> PublicKey:
        try:
            der = aws.client("kms", region).get_public_key(KeyId=arn)["PublicKey"]
            return PublicKey(bytes(der))
        except Exception as error:
            raise _explained(error, "get_public_key", region) from error


def _aws() -> Aws:
    """Clients of their own: the silence of KMS must not open the circuit breaker of anything else. Verifying a pack loads no boto3."""
    from dr_assets.aws import Aws

    return Aws(read_timeout=ANSWER_SECONDS, attempts=1)


def _explained(error: Exception, operation: str, region: str) -> DrError:
    from dr_assets.aws import explain

    return explain(error, "kms", operation, region)


def kms_arns() -> list[str]:
    """The KMS keys in $DR_SIGNING_KEY; none where that names a file, or nothing."""
    value = os.environ.get(KEY_VARIABLE, "")
    return [part.strip() for part in value.split(",")] if value.startswith("arn:") else []


def configured() -> Signer | None:
    """The signer of this installation from $DR_SIGNING_KEY: ARNs of KMS keys with commas between them, or a key file. None where
    it is not set. Raises SigningError."""
    path = os.environ.get(KEY_VARIABLE)
    if arns := kms_arns():
        return KmsKeys(arns)
    return KeyFile(Path(path)) if path else None


def trusted(pems: Iterable[Path] = ()) -> list[PublicKey]:
    """The keys in these PEM files; without any, those that this installation signs with. Raises as `Signer.public_keys`."""
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

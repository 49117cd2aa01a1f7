"""
A keystore in the layout of SROS 2: two authorities, and an enclave per participant.

::

    public/     identity_ca.cert.pem  permissions_ca.cert.pem
    private/    identity_ca.key.pem   permissions_ca.key.pem      stays at home
    enclaves/   governance.xml  governance.p7s
    enclaves/<namespace>/<participant>/
                cert.pem  key.pem  permissions.xml  permissions.p7s
                identity_ca.cert.pem  permissions_ca.cert.pem  governance.p7s

An enclave is whole in itself: it can be copied to the vehicle alone, and needs nothing else there.
"""

from datetime import datetime, timedelta, timezone
import os
from pathlib import Path
import tempfile
from typing import Any, Iterable, NamedTuple, Tuple

from av_td3_ros.security import documents
from av_td3_ros.security.rights import access, Names

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import pkcs7
except ImportError:  # a vehicle needs none
    x509 = None

PUBLIC, PRIVATE, ENCLAVES = 'public', 'private', 'enclaves'
IDENTITY, PERMISSIONS = 'identity_ca', 'permissions_ca'
# A clock that is a little slow must not refuse what was made a moment ago.
EARLIER = timedelta(days=1)
LONGEST = 36_500


class KeystoreError(ValueError):
    """A keystore that cannot be made; the text says what, got, expected and where to fix it."""


class _Authority(NamedTuple):
    cert: Any
    key: Any


def create(
    folder: Path, participants: Iterable[str], names: Names, domain: int, days: int
) -> Tuple[str, ...]:
    """
    Make a keystore; it is there whole or not at all.

    :param folder: must not exist yet, or be empty.
    :param participants: of ``rights.RIGHTS``.
    :param names: of the graph.
    :param domain: ROS domain id.
    :param days: until certificates and permissions run out.
    :returns: the names of the enclaves.
    :raises KeystoreError: where it cannot be made.
    """
    if x509 is None:
        raise KeystoreError(
            'a keystore needs the package cryptography, got none; pip install cryptography'
        )
    if not 1 <= days <= LONGEST:
        raise KeystoreError(f'days must be 1 to {LONGEST}, got {days}; set --days')
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise KeystoreError(
            f'keystore must be a new folder, got {folder}, which holds something: its keys are '
            'not replaced; choose another'
        )
    begun = datetime.now(timezone.utc).replace(microsecond=0)
    validity = begun - EARLIER, begun + timedelta(days=days)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name}.') as made:
            whole = Path(made) / 'keystore'
            enclaves = _fill(whole, tuple(participants), names, domain, validity)
            os.replace(whole, folder)
    except OSError as error:
        raise KeystoreError(
            f'keystore must be writable, got {folder}: {error.strerror}; choose another folder'
        ) from None
    return enclaves


def enclave_name(participant: str, names: Names) -> str:
    """Return the name of an enclave, such as ``/av_td3/policy``."""
    return '/'.join(['', *filter(None, names.namespace.split('/')), participant])


def _fill(
    folder: Path,
    participants: Tuple[str, ...],
    names: Names,
    domain: int,
    validity: Tuple[datetime, datetime],
) -> Tuple[str, ...]:
    for part in (PUBLIC, PRIVATE, ENCLAVES):
        (folder / part).mkdir(parents=True, mode=0o700 if part == PRIVATE else 0o755)
    authorities = {}
    for name in (IDENTITY, PERMISSIONS):
        key = ec.generate_private_key(ec.SECP256R1())  # the curve that the standard asks for
        cert = _certificate(f'av_td3 {name}', key, None, validity)
        authorities[name] = _Authority(cert, key)
        _write(folder / PUBLIC / f'{name}.cert.pem', _pem(cert))
        _write(folder / PRIVATE / f'{name}.key.pem', _key_pem(key), secret=True)
    rules = documents.governance(domain)
    signed_rules = _signed(rules, authorities[PERMISSIONS])
    _write(folder / ENCLAVES / 'governance.xml', rules)
    _write(folder / ENCLAVES / 'governance.p7s', signed_rules)
    made = []
    for participant in participants:
        name = enclave_name(participant, names)
        place = folder / ENCLAVES / name.lstrip('/')
        place.mkdir(parents=True)
        key = ec.generate_private_key(ec.SECP256R1())
        allowed = documents.permissions(name, access(participant, names), domain, validity)
        _write(place / 'key.pem', _key_pem(key), secret=True)
        _write(place / 'cert.pem', _pem(_certificate(name, key, authorities[IDENTITY], validity)))
        _write(place / 'permissions.xml', allowed)
        _write(place / 'permissions.p7s', _signed(allowed, authorities[PERMISSIONS]))
        _write(place / 'governance.p7s', signed_rules)
        for authority, (cert, _) in authorities.items():
            _write(place / f'{authority}.cert.pem', _pem(cert))
        made.append(name)
    return tuple(made)


def _certificate(name: str, key: Any, signer: Any, validity: Tuple[datetime, datetime]) -> Any:
    """Return a certificate; without a signer it is an authority's own."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    is_authority = signer is None
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if is_authority else signer.cert.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
        .add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None),
            critical=True,
        )
        .sign(key if is_authority else signer.key, hashes.SHA256())
    )


def _signed(document: bytes, authority: _Authority) -> bytes:
    """Return a document with its signature, S/MIME with the text in the clear."""
    return (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(document)
        .add_signer(authority.cert, authority.key, hashes.SHA256())
        .sign(
            serialization.Encoding.SMIME,
            [pkcs7.PKCS7Options.Text, pkcs7.PKCS7Options.DetachedSignature],
        )
    )


def _pem(cert: Any) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: Any) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),  # the middleware asks nobody for a password
    )


def _write(path: Path, data: bytes, secret: bool = False) -> None:
    mode = 0o600 if secret else 0o644
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), 'wb') as file:
        file.write(data)

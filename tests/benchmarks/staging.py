"""The built artifacts as Lambda lays them out: the layers merged at /opt, a separate runtime, file dates of 1980."""

import compileall
import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from py_compile import PycInvalidationMode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from sandbox.build import ROOT, Build, Tools
from tests.template.support import FUNCTIONS, Json, TransformedTemplate, load, target

RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
"""The packages that Lambda's Python runtime includes besides its own client."""
CLIENT = ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")
FLOORS = Path(__file__).parent / "floors"
HOSTS = ("*.amazonaws.com", "*.eu-west-1.amazonaws.com", "go.tallyfy.com")
_OF_ZIP = datetime(1980, 1, 1, tzinfo=UTC).timestamp()
"""The date of every file in an archive that SAM builds."""

START = """
import os, socket, sys
sys.path[:0] = os.environ.pop("BENCH_PATH").split(os.pathsep)
port, resolve = int(os.environ.pop("BENCH_PORT")), socket.getaddrinfo

def to_loopback(host, *args, **kwargs):
    if host.endswith((".amazonaws.com", ".tallyfy.com")):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    return resolve(host, *args, **kwargs)

socket.getaddrinfo = to_loopback
from awslambdaric.__main__ import main
main(["bootstrap", "app.handler"])
"""
"""Runs AWS's runtime client. Hosts of AWS and Tallyfy resolve to the fake services. Nothing else differs."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """The TLS files of the fake services: the root that clients trust, and the server's chain and key."""

    root: Path
    chain: Path
    key: Path


@dataclass(frozen=True)
class StagingFolder:
    """A folder with every file that a measured process reads."""

    folder: Path

    def make(self) -> None:
        """Build the artifacts and lay them out. Replaces the files of an earlier run."""
        build = Build()
        build.ensure(Tools())
        shutil.rmtree(self.folder, ignore_errors=True)
        for layer in self._layers():
            shutil.copytree(build.directory / layer, self.folder / "opt", dirs_exist_ok=True)
        for function in FUNCTIONS:
            shutil.copytree(build.directory / function, self.folder / "tasks" / function)
        for package in (*RUNTIME, *CLIENT):
            _copy_package(package, self.folder / "runtime")
        for floor in FLOORS.glob("*.py"):
            (self.folder / "tasks" / floor.stem).mkdir()
            shutil.copyfile(floor, self.folder / "tasks" / floor.stem / "app.py")
            _copy_charset_normalizer(self.folder / "tasks" / floor.stem)
        for place in ("runtime", *(f"tasks/{floor.stem}" for floor in FLOORS.glob("*.py"))):
            compileall.compile_dir(
                self.folder / place, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH, force=True
            )
        self._trust()
        for path in self.folder.rglob("*"):
            os.utime(path, (_OF_ZIP, _OF_ZIP))

    def _trust(self) -> None:
        """Add the root of the fake services to every CA bundle. A bundle of 140 roots then has 141."""
        root = self.certificates.root.read_bytes()
        for bundle in [*(self.folder / "opt").rglob("*.pem"), *(self.folder / "runtime").rglob("*.pem")]:
            bundle.write_bytes(bundle.read_bytes() + b"\n" + root)

    @cached_property
    def certificates(self) -> Certificates:
        """The certificates, created once for each stage."""
        folder = self.folder / "tls"
        folder.mkdir(parents=True, exist_ok=True)
        return _certificates(folder)

    def command(self) -> list[str]:
        """The command of the runtime client, in an interpreter without site-packages."""
        return [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", START]

    def path(self, task: str) -> str:
        """The module search path: for a function its layers come first, for a floor the runtime's packages."""
        opt, runtime = str(self.folder / "opt" / "python"), str(self.folder / "runtime")
        rest = [opt, runtime] if task in FUNCTIONS else [runtime, opt]
        return os.pathsep.join([str(self.folder / "tasks" / task), *rest])

    @cached_property
    def template(self) -> TransformedTemplate:
        """The template, built for this machine's processor architecture."""
        return load(Architecture="arm64" if os.uname().machine in {"arm64", "aarch64"} else "x86_64")

    def memory(self, task: str) -> int:
        """The memory of a function in MB. A floor gets the memory of most functions."""
        default: int = self.template.source["Globals"]["Function"]["MemorySize"]
        return int(self.template.properties(task).get("MemorySize", default)) if task in FUNCTIONS else default

    def timeout(self, task: str) -> int:
        """The time-out of a function in seconds."""
        return int(self.template.properties(task)["Timeout"]) if task in FUNCTIONS else 60

    def variables(self, task: str, organization: str) -> dict[str, str]:
        """The environment variables of a deployed function, each with a realistic value."""
        given: dict[str, Json] = self.template.properties(task)["Environment"]["Variables"] if task in FUNCTIONS else {}
        found = {name: self._value(name, self.template.choose(value)) for name, value in given.items()}
        return found | ({"ORGANIZATION_IDS": organization} if "ORGANIZATION_IDS" in found else {})

    def _value(self, name: str, chosen: Json) -> str:
        if isinstance(chosen, str | int):
            return str(chosen)
        named = target(chosen)
        if name.endswith("_URLS"):
            return f"https://sqs.eu-west-1.amazonaws.com/123456789012/{named.split(',')[0]}"
        return (
            f"https://sqs.eu-west-1.amazonaws.com/123456789012/{named}" if name.endswith("_URL") else named or "stack"
        )

    def _layers(self) -> list[str]:
        return [target(layer) for layer in self.template.choose(self.template.source["Globals"]["Function"]["Layers"])]


def stage() -> StagingFolder:
    """The stage of this checkout."""
    return StagingFolder(ROOT / ".local" / "bench" / "stage")


def _copy_package(name: str, folder: Path) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    folder.mkdir(parents=True, exist_ok=True)
    if spec.submodule_search_locations:
        shutil.copytree(
            spec.submodule_search_locations[0], folder / name, ignore=shutil.ignore_patterns("__pycache__", "tests")
        )
    else:
        shutil.copy(str(spec.origin), folder)


def _copy_charset_normalizer(folder: Path) -> None:
    """The layer has no charset-normalizer. A stock installation of requests has it, with its compiled module."""
    _copy_package("charset_normalizer", folder)
    spec = importlib.util.find_spec("charset_normalizer")
    assert spec is not None
    assert spec.origin is not None
    for compiled in Path(spec.origin).parents[1].glob("*__mypyc*.so"):
        shutil.copy(compiled, folder)


def _certificates(folder: Path) -> Certificates:
    root_key, key = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lifecycle bench root")])
    began = datetime.now(UTC) - timedelta(days=1)

    def certificate(name: x509.Name, public: rsa.RSAPublicKey, *, root: bool) -> x509.Certificate:
        names = x509.SubjectAlternativeName([*map(x509.DNSName, HOSTS), x509.IPAddress(IPv4Address("127.0.0.1"))])
        return (
            x509.CertificateBuilder(root_name, name, public, x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    key_cert_sign=root,
                    crl_sign=root,
                    content_commitment=False,
                    key_encipherment=not root,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(names, critical=False)
            .sign(root_key, hashes.SHA256())
        )

    root = certificate(root_name, root_key.public_key(), root=True)
    leaf_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lifecycle bench")])
    leaf = certificate(leaf_name, key.public_key(), root=False)
    made = Certificates(folder / "root.crt", folder / "chain.crt", folder / "server.key")
    made.root.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    made.chain.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made

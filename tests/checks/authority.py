"""An authority of a test's own, which issues certificates of every kind with openssl."""

import subprocess
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
NAMES = "subjectAltName=DNS:bot.example,DNS:*.bot.example,IP:127.0.0.1"


class Authority:
    """A folder with ca.pem, middle.pem signed by it, and what `issue` makes, signed by the middle."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.pem"
        self._openssl(
            "req", "-x509", *KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", "3000", "-subj", "/CN=root"
        )
        self.middle("middle", 1000)

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True, timeout=30)

    def _sign(self, name: str, subject: str, days: int, by: str, extensions: str) -> None:
        (self.folder / "ext").write_text(extensions + "\n")
        self._openssl("req", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        signed = ("-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial", "-extfile", "ext")
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", str(days), *signed
        )

    def middle(self, name: str, days: int) -> None:
        self._sign(name, f"/CN={name}", days, "ca", "basicConstraints=critical,CA:TRUE")

    def issue(self, name: str, days: int, by: str = "middle", extensions: str = NAMES) -> Path:
        """A certificate with its chain: NAME.chain, and NAME.key."""
        self._sign(name, f"/O=Bots/CN={name}", days, by, extensions)
        chain = self.folder / f"{name}.chain"
        chain.write_text("".join((self.folder / f"{part}.pem").read_text() for part in (name, by)))
        return chain

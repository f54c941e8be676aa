"""Says "good", or why a new certificate is wanted. Run by the release's own Python, which has `cryptography`.

Arguments: key file, certificate file, kind, name, JSON list of host names, days, text of the authority's certificate.
"""

import datetime
import ipaddress
import json
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def names_of(certificate):
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set(), set()
    hosts = set(names.get_values_for_type(x509.DNSName))
    hosts |= {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return set(names.get_values_for_type(x509.UniformResourceIdentifier)), hosts


def plain(host):
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def state(key, path, kind, name, hosts, days, authority):
    if not Path(key).exists() or not Path(path).exists():
        return "there is none yet"
    certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
    now = datetime.datetime.now(datetime.timezone.utc)
    until = certificate.not_valid_after_utc
    if until < now:
        return "it expired on %s" % until.date()
    if until < now + datetime.timedelta(days=days):
        return "it expires on %s" % until.date()
    if load_pem_private_key(Path(key).read_bytes(), None).public_key() != certificate.public_key():
        return "it is not the key's"
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificates(authority.encode())[0])
    except Exception:
        return "another authority signed it"
    uris, named = names_of(certificate)
    if "sonde://%s/%s" % (kind, name) not in uris:
        return "it is of another name"
    if kind == "aggregator" and not {plain(host) for host in hosts} <= named:
        return "it lacks a name that agents call the aggregator by"
    return "good"


key, path, kind, name, hosts, days, authority = sys.argv[1:]
print(state(key, path, kind, name, json.loads(hosts), int(days), authority))

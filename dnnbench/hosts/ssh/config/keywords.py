"""The keywords of ssh_config and their treatment: obeyed, ignored or refused.

- Obeyed: decides who logs in, where, or which host key is trusted; means the same as in OpenSSH.
- Ignored: concerns terminals, forwarding, logging and the like, which dnnbench does not use, or
  would only make it trust a host that it refuses otherwise.
- Refused: decides one of the three in a way that dnnbench cannot follow; an error where it applies.

Sources: ssh_config(5) of OpenSSH 10.0, the table ``keywords[]`` of its readconf.c, and the patches
of Debian, Fedora and Apple.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from dnnbench.errors import ConfigError


class Refused(NamedTuple):
    """A keyword that dnnbench cannot follow.

    Attributes:
        unless: values, in lower case, that have no effect.
        remedy: an alternative to removing the keyword.
    """

    unless: tuple[str, ...] = ("no", "false")
    remedy: str | None = None


Treatment = Refused | Literal["obeyed", "ignored"]

OWN_FILE: Final = "remove it for this host, or set [ssh] config to a file for dnnbench alone"
_KEYS_ONLY: Final = "dnnbench logs in with keys; allow them for this host"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OBEYED: Final = _words(
    """
    addressfamily bindaddress canonicaldomains canonicalizefallbacklocal canonicalizehostname
    canonicalizemaxdots certificatefile ciphers globalknownhostsfile host hostkeyalgorithms
    hostkeyalias hostname identitiesonly identityagent identityfile ignoreunknown include
    kexalgorithms macs match port proxycommand proxyjump pubkeyacceptedalgorithms
    requiredrsasize tag user userknownhostsfile
    """
)
IGNORED: Final = _words(
    """
    addkeystoagent batchmode casignaturealgorithms channeltimeout clearallforwardings
    compression compressionlevel connectionattempts connecttimeout controlmaster controlpath
    controlpersist dynamicforward enableescapecommandline enablesshkeysign escapechar
    exitonforwardfailure fingerprinthash forkafterauthentication forwardagent forwardx11
    forwardx11timeout forwardx11trusted gatewayports gssapiauthentication gssapiclientidentity
    gssapidelegatecredentials gssapikexalgorithms gssapikeyexchange gssapirenewalforcesrekey
    gssapiserveridentity gssapitrustdns hashknownhosts hostbasedacceptedalgorithms
    hostbasedauthentication ipqos kbdinteractiveauthentication kbdinteractivedevices
    localcommand localforward loglevel logverbose nohostauthenticationforlocalhost
    numberofpasswordprompts obscurekeystroketiming passwordauthentication permitlocalcommand
    permitremoteopen preferredauthentications protocolkeepalives rekeylimit remotecommand
    remoteforward requesttty securitykeyprovider sendenv serveralivecountmax
    serveraliveinterval sessiontype setenv setuptimeout stdinnull streamlocalbindmask
    streamlocalbindunlink stricthostkeychecking syslogfacility tcpkeepalive tunnel tunneldevice
    updatehostkeys usekeychain verifyhostkeydns versionaddendum visualhostkey warnweakcrypto
    xauthlocation

    afstokenpassing challengeresponseauthentication cipher dsaauthentication fallbacktorsh
    globalknownhostsfile2 hostbasedkeytypes kerberosauthentication kerberostgtpassing keepalive
    protocol rhostsauthentication rhostsrsaauthentication rsaauthentication skeyauthentication
    tisauthentication useprivilegedport userknownhostsfile2 useroaming usersh
    """
)
"""The second paragraph lists those that OpenSSH itself ignores today."""
REFUSED: Final = {
    "bindinterface": Refused(("none",), "BindAddress is supported"),
    "canonicalizepermittedcnames": Refused(("none",), "write the full name in HostName"),
    "checkhostip": Refused(),
    "knownhostscommand": Refused(("none",), "add the host's key with: dnnbench hosts trust"),
    "pkcs11provider": Refused(("none",), "give the keys to an SSH agent: ssh-add -s"),
    "proxyusefdpass": Refused(remedy="use a ProxyCommand that passes the data on itself"),
    "pubkeyauthentication": Refused(("yes", "true", "unbound", "host-bound"), _KEYS_ONLY),
    "refuseconnection": Refused((), "that is what the configuration says"),
    "revokedhostkeys": Refused(("none",), "mark the keys as @revoked in known_hosts"),
    "smartcarddevice": Refused(("none",), "give the keys to an SSH agent: ssh-add -s"),
}
ALIASES: Final = {
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
    "identityfile2": "identityfile",
    "rsaminsize": "requiredrsasize",  # Fedora's name, before OpenSSH had the keyword
}
TREATMENTS: Final[dict[str, Treatment]] = {
    **dict.fromkeys(OBEYED, "obeyed"),
    **dict.fromkeys(IGNORED, "ignored"),
    **REFUSED,
}


def is_refused(keyword: str, value: str) -> bool:
    """Return whether dnnbench cannot follow a keyword with this value."""
    treatment = TREATMENTS[keyword]
    return isinstance(treatment, Refused) and value.lower() not in treatment.unless


def refusal(keyword: str, written: str, where: str, host: str) -> ConfigError:
    """Return the error for a keyword that applies to a host and cannot be followed.

    Args:
        keyword: in lower case.
        written: the keyword and its value, as the file has them.
        where: file and line.
        host: the host's name as the user would give it to ssh.
    """
    treatment = TREATMENTS[keyword]
    assert isinstance(treatment, Refused)
    remedy = f"{treatment.remedy}; or {OWN_FILE}" if treatment.remedy else OWN_FILE
    problem = f"`{written}` applies to {host} and is not supported"
    return ConfigError(problem, where=where, remedy=remedy)

"""What the closed lists of the wire mean, in words for a technician. Pure; keys are the words on the wire."""

from linkbell_agent.language.speech import N_

VERDICTS = {
    "ok": N_("The Internet connection works."),
    "degraded": N_("The connection works, but badly: packets are late or get lost."),
    "lan_down": N_("This box does not reach the school's router."),
    "isp_down": N_("The school's router answers, but the provider's network does not."),
    "dns_fault": N_("The line works, but names of web sites are not found (DNS)."),
    "captive_portal": N_("A login page stands between the school and the Internet."),
    "international_down": N_("Sites in this country answer, sites abroad do not."),
    "platform_down": N_("The Internet works, but a learning platform does not answer."),
    "collector_unreachable": N_("The Internet works; only the Linkbell server is not reached."),
}
"""A sentence for each verdict."""

NO_VERDICT = N_("It is not known yet how the connection is.")
SLOW = N_("The connection works, but it is slower than it has to be.")

STEPS = {
    "ok": N_("There is nothing to do."),
    "degraded": N_(
        "See whether somebody is downloading a lot. "
        "If it stays like this, show the provider the page “For the provider”."
    ),
    "lan_down": N_("Check that the router has power, and the cable between it and this box."),
    "isp_down": N_(
        "Restart the router once. If it stays like this, call the provider and show the page “For the provider”."
    ),
    "dns_fault": N_(
        "Restart the router once. If it stays like this, tell the provider that the name servers do not answer."
    ),
    "captive_portal": N_("Open any web site in a browser on this network: log in there, or read what it asks for."),
    "international_down": N_("Nothing in the school is wrong. Tell the provider that sites abroad do not answer."),
    "platform_down": N_("Nothing in the school is wrong. Tell whoever runs the platform, and wait."),
    "collector_unreachable": N_("There is nothing to do: results are kept in this box and sent later."),
}
"""What to do about each."""

NO_VERDICT_STEP = N_("The first answer comes a few minutes after the start.")
SLOW_STEP = N_(
    "See whether somebody is downloading a lot. If it stays slow, show the provider the page “For the provider”."
)

SHORT = {
    "ok": N_("works"),
    "degraded": N_("works badly"),
    "lan_down": N_("router not reached"),
    "isp_down": N_("provider's fault"),
    "dns_fault": N_("names not found"),
    "captive_portal": N_("login page"),
    "international_down": N_("nothing from abroad"),
    "platform_down": N_("platform fails"),
    "collector_unreachable": N_("Linkbell server not reached"),
}
"""A verdict in two or three words, for tables and legends."""

NOT_MEASURED = N_("not measured")

TONES = {
    "ok": "good",
    "degraded": "moderate",
    "lan_down": "bad",
    "isp_down": "bad",
    "dns_fault": "bad",
    "captive_portal": "bad",
    "international_down": "bad",
    "platform_down": "moderate",
    "collector_unreachable": "moderate",
}
"""How bad it is for the school: ``good``, ``moderate``, ``bad``; what is not known is ``unknown``."""

SHORT_SLOW = N_("slow")

ROLES = {"primary": N_("primary"), "backup": N_("backup")}

TROUBLES = {
    "device_missing": N_("interface missing"),
    "device_down": N_("interface switched off"),
    "no_carrier": N_("no link"),
    "source_missing": N_("address missing"),
    "denied": N_("binding not allowed"),
    "no_address": N_("no address"),
    "no_route": N_("no default route"),
}
"""What keeps an uplink from being measured, in two or three words."""

TONE_WORDS = {
    "good": N_("Good"),
    "moderate": N_("Attention"),
    "bad": N_("Fault"),
    "unknown": N_("Not known"),
}

LAYERS = {
    "gateway": N_("The school's router"),
    "isp": N_("The provider"),
    "dns": N_("Name servers (DNS)"),
    "domestic": N_("Within the country"),
    "international": N_("Abroad"),
    "platform": N_("Learning platforms"),
    "collector": N_("The Linkbell server"),
}

FAILURES = {
    "timeout": N_("no answer in time"),
    "connection_refused": N_("nothing listens there"),
    "connection_reset": N_("the connection was broken off"),
    "connection_closed": N_("the other side closed the connection"),
    "host_unreachable": N_("the device does not answer"),
    "network_unreachable": N_("there is no way out of this box"),
    "prohibited": N_("a firewall refuses it"),
    "ttl_exceeded": N_("packets go in circles on the way"),
    "address_unavailable": N_("this box does not have that address"),
    "uplink_unavailable": N_("the network interface is not there"),
    "permission_denied": N_("this box does not allow it"),
    "dns_not_found": N_("the name is not known"),
    "dns_no_address": N_("the name has no address"),
    "dns_timeout": N_("the name server does not answer"),
    "dns_server_failure": N_("the name server fails"),
    "dns_refused": N_("the name server refuses"),
    "dns_false_answer": N_("the name server gives false answers"),
    "tls_certificate_invalid": N_("the certificate is not valid"),
    "tls_certificate_not_yet_valid": N_("the certificate is not valid yet: this box's clock is probably wrong"),
    "tls_certificate_expired": N_("the certificate has run out"),
    "tls_failed": N_("no encryption was agreed on"),
    "http_status": N_("the server answers with an error"),
    "redirected": N_("the request was led elsewhere"),
    "captive_portal": N_("a login page answers"),
    "blocked_page": N_("a page that says “blocked” answers"),
    "protocol_error": N_("something else answers there"),
    "message_too_large": N_("the answer is too large"),
    "no_data": N_("nothing came"),
    "inconclusive": N_("there was too little time to know"),
    "floor_out_of_range": N_("this floor cannot be checked"),
    "server_busy": N_("the measurement server tests other schools"),
    "no_server": N_("no measurement server is known"),
    "engine_missing": N_("the measuring program is not installed"),
    "engine_failed": N_("the measuring program failed"),
    "out_of_memory": N_("this box has no memory left"),
    "too_many_files": N_("this box has too many files open"),
    "interrupted": N_("it was interrupted"),
    "unknown": N_("something nobody foresaw"),
}
"""A failure code in a few words; ``docs/failures.md`` says more."""

DIRECTIONS = {"download": N_("Download"), "upload": N_("Upload")}

PROBES = {"ping": N_("ping"), "dns": N_("name look-up"), "http": N_("web page")}
"""How a layer is watched."""

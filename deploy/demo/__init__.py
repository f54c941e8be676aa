"""`make demo`: three hosts on this machine, real servers, one real agent a host, aggregator, dashboard.

    web   load -> nginx ->            10.87.0.11
    app              -> api ->        10.87.0.12
    db                     -> MariaDB, Redis   10.87.0.13

The hosts are network namespaces; the bridge between them lives in a namespace as well, so the machine's own network
is not touched. Sonde's parts run in the root namespace and listen on 127.0.0.1; each agent is limited to the
namespace of its host. Everything ends with the demo, also when the demo is killed, and what a killed demo left
behind is removed by the next one.
"""

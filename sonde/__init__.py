"""What the agent, the aggregator and the dashboard share: the command, configuration, errors, the wire's columns."""

__version__ = "0.1.0"

#: Version of the wire format that this tree speaks; see proto/sonde.proto.
WIRE_VERSION = 1

@_exported import enum MQTTPackets.PacketKind

@_exported import struct MQTTPackets.Properties
@_exported import struct MQTTPackets.Property
// The vocabulary of MQTT, so that `import MQTT` is enough.
@_exported import enum MQTTPackets.PropertyIdentifier
@_exported import enum MQTTPackets.ProtocolVersion
@_exported import enum MQTTPackets.QoS
@_exported import struct MQTTPackets.ReasonCode
@_exported import struct MQTTPackets.SubscriptionOptions
@_exported import struct MQTTPackets.Will
@_exported import struct NIOCore.ByteBuffer

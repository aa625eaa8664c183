import MQTTPackets
import MQTTSessions
import NIOCore

extension OutboundQueue {
    /// Queues a message.
    mutating func add(_ payload: String = "x", qos: QoS = .atLeastOnce, ticket: UInt64 = 0) {
        let message = Message(Publish(topic: "t", payload: ByteBuffer(string: payload), qos: qos))
        append(message, qos: qos, isRetained: false, ticket: ticket)
    }
}

/// All packets that stand in the bytes.
func packets(_ bytes: ByteBuffer, _ version: ProtocolVersion) throws -> [Packet] {
    var decoder = PacketDecoder(version: version)
    var rest = bytes
    var packets: [Packet] = []
    while let packet = try decoder.next(&rest) { packets.append(packet) }
    precondition(rest.readableBytes == 0, "the bytes end within a packet")
    return packets
}

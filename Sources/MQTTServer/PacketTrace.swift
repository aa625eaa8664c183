import Logging
import MQTTPackets
import NIOCore

/// Logs the packets of one client: names, identifiers, topics and sizes, and no payloads.
///
/// It reads the bytes of a connection along, outside of the core: nobody else pays for it.
struct PacketTrace {
    private let logger: Logger
    private let clientID: String
    private var isOfClient = false
    private var received = Direction()
    private var sent = Direction()

    /// The bytes of one direction, packet by packet.
    private struct Direction {
        var decoder = PacketDecoder(version: nil)
        private var bytes = ByteBuffer()

        mutating func add(_ more: ByteBuffer) { bytes.writeImmutableBuffer(more) }

        /// Nil where the next packet is not whole, or cannot be read: the broker says what is wrong with it.
        mutating func next() -> (packet: Packet, bytes: Int)? {
            let before = bytes.readableBytes
            do {
                guard let packet = try decoder.next(&bytes) else {
                    // What was read is let go of, or a long connection would fill the memory.
                    bytes = ByteBuffer(bytes: bytes.readableBytesView)
                    return nil
                }
                return (packet, before - bytes.readableBytes)
            } catch {
                bytes.clear()
                return nil
            }
        }
    }

    init(clientID: String, logger: Logger) {
        self.clientID = clientID
        self.logger = logger
    }

    /// False where the connection is another client's: then there is no more to trace.
    mutating func received(_ bytes: ByteBuffer) -> Bool {
        received.add(bytes)
        while let (packet, bytes) = received.next() {
            if case .connect(let connect) = packet {
                guard connect.clientID == clientID else { return false }
                isOfClient = true
                sent.decoder.version = connect.version
            }
            log("<", packet, bytes: bytes)
        }
        return true
    }

    mutating func sent(_ bytes: ByteBuffer) {
        guard isOfClient else { return }
        sent.add(bytes)
        while let (packet, bytes) = sent.next() { log(">", packet, bytes: bytes) }
    }

    private func log(_ arrow: String, _ packet: Packet, bytes: Int) {
        var metadata: Logger.Metadata = ["client": "\(clientID)", "bytes": "\(bytes)"]
        switch packet {
        case .publish(let publish):
            metadata["topic"] = "\(LogText.printable(publish.topic))"
            metadata["qos"] = "\(publish.qos.rawValue)"
            metadata["payload-bytes"] = "\(publish.payload.readableBytes)"
            if let id = publish.packetID { metadata["id"] = "\(id)" }
            if publish.isRetained { metadata["retain"] = "true" }
            if publish.isDuplicate { metadata["dup"] = "true" }
        case .subscribe(let subscribe):
            metadata["id"] = "\(subscribe.packetID)"
            metadata["filters"] = .array(
                subscribe.filters.map { "\(LogText.printable($0.filter)) qos \($0.options.qos.rawValue)" }
            )
        case .unsubscribe(let unsubscribe):
            metadata["id"] = "\(unsubscribe.packetID)"
            metadata["filters"] = .array(unsubscribe.filters.map { "\(LogText.printable($0))" })
        case .suback(let suback):
            metadata["id"] = "\(suback.packetID)"
            metadata["reasons"] = .array(suback.reasonCodes.map { "\($0)" })
        case .unsuback(let unsuback):
            metadata["id"] = "\(unsuback.packetID)"
            metadata["reasons"] = .array(unsuback.reasonCodes.map { "\($0)" })
        case .puback(let answer), .pubrec(let answer), .pubrel(let answer), .pubcomp(let answer):
            metadata["id"] = "\(answer.packetID)"
            metadata["reason"] = "\(answer.reasonCode)"
        case .connack(let connack):
            metadata["reason"] = "\(connack.reasonCode)"
            metadata["session-present"] = "\(connack.sessionPresent)"
        case .disconnect(let disconnect): metadata["reason"] = "\(disconnect.reasonCode)"
        case .connect(let connect):
            metadata["protocol"] = "\(connect.version)"
            metadata["keep-alive"] = "\(connect.keepAlive)"
            metadata["clean-start"] = "\(connect.cleanStart)"
        case .auth, .pingreq, .pingresp: break
        }
        logger.log(level: .notice, "\(arrow) \(packet.kind)", metadata: metadata)
    }
}

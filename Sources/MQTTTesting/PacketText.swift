import MQTTPackets
import NIOCore

/// Packets as lines of a transcript.
enum PacketText {
    private static let payloadCharactersMax = 40

    static func describe(_ packet: Packet) -> String {
        let name = "\(packet.kind)".uppercased()
        let words: [String] =
            switch packet {
            case .connect(let connect): describe(connect)
            case .connack(let connack):
                [describe(connack.reasonCode)] + (connack.sessionPresent ? ["session present"] : [])
            case .publish(let publish): describe(publish)
            case .puback(let answer), .pubrec(let answer), .pubrel(let answer), .pubcomp(let answer):
                ["\(answer.packetID)"] + (answer.reasonCode == .success ? [] : [describe(answer.reasonCode)])
            case .subscribe(let subscribe):
                ["\(subscribe.packetID)"] + subscribe.filters.map { "\($0.filter) QoS \($0.options.qos.rawValue)" }
            case .suback(let suback):
                ["\(suback.packetID)"] + suback.reasonCodes.map { $0.isError ? describe($0) : "QoS \($0.rawValue)" }
            case .unsubscribe(let unsubscribe): ["\(unsubscribe.packetID)"] + unsubscribe.filters
            case .unsuback(let unsuback): ["\(unsuback.packetID)"] + unsuback.reasonCodes.map(describe)
            case .disconnect(let disconnect): [describe(disconnect.reasonCode)]
            case .auth(let auth): [describe(auth.reasonCode)]
            case .pingreq, .pingresp: []
            }
        return ([name] + words).joined(separator: " ")
    }

    /// Its name, without its number.
    private static func describe(_ code: ReasonCode) -> String {
        let text = "\(code)"
        return text.firstIndex(of: "(").map { String(text[..<$0].dropLast()) } ?? text
    }

    private static func describe(_ connect: Connect) -> [String] {
        var words = connect.clientID.isEmpty ? [] : [connect.clientID]
        if connect.version != .v5 { words.append("\(connect.version)") }
        if !connect.cleanStart { words.append("resuming") }
        if let will = connect.will { words.append("will \(will.topic)") }
        return words
    }

    private static func describe(_ publish: Publish) -> [String] {
        var words = [publish.topic, describe(publish.payload)]
        if publish.qos > .atMostOnce { words.append("QoS \(publish.qos.rawValue)") }
        if let id = publish.packetID { words.append("id \(id)") }
        if publish.isRetained { words.append("retain") }
        if publish.isDuplicate { words.append("dup") }
        return words
    }

    private static func describe(_ payload: ByteBuffer) -> String {
        guard let text = String(validating: payload.readableBytesView, as: UTF8.self),
            text.count <= payloadCharactersMax, text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F })
        else { return "\(payload.readableBytes) bytes" }
        return "\"\(text)\""
    }
}

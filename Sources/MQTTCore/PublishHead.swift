import MQTTPackets

/// What of a PUBLISH differs from receiver to receiver, and how long the packet becomes with it. Subscription
/// identifiers are handed along: without them it is trivial.
struct PublishHead {
    var firstByte: UInt8
    /// 0 at QoS 0.
    var packetID: UInt16
    var version: ProtocolVersion
    /// 0 is none.
    var alias: UInt16 = 0
    /// False where the alias stands for the topic.
    var includesTopic = true
    /// Seconds.
    var expiry: UInt32?

    private(set) var packetBytes = 0
    private var remaining = 0
    private var propertyBytes = 0

    init(firstByte: UInt8, packetID: UInt16, version: ProtocolVersion) {
        self.firstByte = firstByte
        self.packetID = packetID
        self.version = version
    }

    /// To be called once all is set.
    mutating func measure(_ view: PublishView, _ identifiers: [UInt32]) {
        remaining = 2 &+ (includesTopic ? view.topic.count : 0) &+ (packetID == 0 ? 0 : 2) &+ view.payload.count
        if version == .v5 {
            propertyBytes = view.properties.count &+ (alias == 0 ? 0 : 3) &+ (expiry == nil ? 0 : 5)
            for identifier in identifiers { propertyBytes += 1 + PrimitiveCoding.variableBytes(Int(identifier)) }
            remaining &+= PrimitiveCoding.variableBytes(propertyBytes) &+ propertyBytes
        }
        packetBytes = 1 &+ PrimitiveCoding.variableBytes(remaining) &+ remaining
    }

    /// Gives the number of bytes written. The target has room for all of them.
    func write(
        to target: UnsafeMutableRawBufferPointer,
        _ identifiers: [UInt32],
        _ source: Span<UInt8>,
        _ view: PublishView,
        includingPayload: Bool
    ) -> Int {
        var writer = Writer(target: target)
        writer.byte(firstByte)
        writer.variable(remaining)
        if includesTopic {
            writer.twoBytes(UInt16(view.topic.count))
            writer.bytes(source, view.topic)
        } else {
            writer.twoBytes(0)
        }
        if packetID != 0 { writer.twoBytes(packetID) }
        if version == .v5 {
            writer.variable(propertyBytes)
            if let expiry {
                writer.byte(PropertyIdentifier.messageExpiryInterval.rawValue)
                writer.twoBytes(UInt16(expiry >> 16))
                writer.twoBytes(UInt16(truncatingIfNeeded: expiry))
            }
            if alias != 0 {
                writer.byte(PropertyIdentifier.topicAlias.rawValue)
                writer.twoBytes(alias)
            }
            for identifier in identifiers {
                writer.byte(PropertyIdentifier.subscriptionIdentifier.rawValue)
                writer.variable(Int(identifier))
            }
            writer.bytes(source, view.properties)
        }
        if includingPayload { writer.bytes(source, view.payload) }
        return writer.at
    }

    private struct Writer {
        let target: UnsafeMutableRawBufferPointer
        var at = 0

        init(target: UnsafeMutableRawBufferPointer) { self.target = target }

        mutating func byte(_ value: UInt8) {
            target[at] = value
            at &+= 1
        }

        mutating func twoBytes(_ value: UInt16) {
            byte(UInt8(value >> 8))
            byte(UInt8(truncatingIfNeeded: value))
        }

        mutating func variable(_ value: Int) {
            var rest = value
            while rest >= 0x80 {
                byte(UInt8(rest & 0x7F) | 0x80)
                rest >>= 7
            }
            byte(UInt8(rest))
        }

        mutating func bytes(_ source: Span<UInt8>, _ range: Range<Int>) {
            guard !range.isEmpty else { return }
            precondition(range.count <= target.count &- at)
            source.extracting(range).withUnsafeBytes { part in
                UnsafeMutableRawBufferPointer(rebasing: target[at..<(at &+ part.count)]).copyMemory(from: part)
            }
            at &+= range.count
        }
    }
}

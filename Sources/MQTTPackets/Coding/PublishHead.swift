/// What of a PUBLISH differs from receiver to receiver, and how long the packet becomes with it. Subscription
/// identifiers are handed along: without them it is trivial.
package struct PublishHead {
    package var firstByte: UInt8
    /// 0 at QoS 0.
    package var packetID: UInt16
    package var version: ProtocolVersion
    /// 0 is none.
    package var alias: UInt16 = 0
    /// False where the alias stands for the topic.
    package var includesTopic = true
    /// Seconds.
    package var expiry: UInt32?

    package private(set) var packetBytes = 0
    private var remaining = 0
    private var propertyBytes = 0

    package init(firstByte: UInt8, packetID: UInt16, version: ProtocolVersion) {
        self.firstByte = firstByte
        self.packetID = packetID
        self.version = version
    }

    /// To be called once all is set.
    package mutating func measure(_ view: PublishView, _ identifiers: [UInt32]) {
        remaining = 2 &+ (includesTopic ? view.topic.count : 0) &+ (packetID == 0 ? 0 : 2) &+ view.payload.count
        if version == .v5 {
            propertyBytes = view.properties.count &+ (alias == 0 ? 0 : 3) &+ (expiry == nil ? 0 : 5)
            for identifier in identifiers { propertyBytes += 1 + PrimitiveCoding.variableBytes(Int(identifier)) }
            remaining &+= PrimitiveCoding.variableBytes(propertyBytes) &+ propertyBytes
        }
        packetBytes = 1 &+ PrimitiveCoding.variableBytes(remaining) &+ remaining
    }

    /// Gives the number of bytes written. The target has room for all of them.
    package func write(
        to target: UnsafeMutableRawBufferPointer,
        _ identifiers: [UInt32],
        _ source: Span<UInt8>,
        _ view: PublishView,
        includingPayload: Bool
    ) -> Int {
        var writer = RawWriter(target)
        writer.integer(firstByte)
        writer.variable(remaining)
        if includesTopic {
            writer.integer(UInt16(view.topic.count))
            writer.copy(source, view.topic)
        } else {
            writer.integer(0 as UInt16)
        }
        if packetID != 0 { writer.integer(packetID) }
        if version == .v5 {
            writer.variable(propertyBytes)
            if let expiry {
                writer.integer(PropertyIdentifier.messageExpiryInterval.rawValue)
                writer.integer(expiry)
            }
            if alias != 0 {
                writer.integer(PropertyIdentifier.topicAlias.rawValue)
                writer.integer(alias)
            }
            for identifier in identifiers {
                writer.integer(PropertyIdentifier.subscriptionIdentifier.rawValue)
                writer.variable(Int(identifier))
            }
            writer.copy(source, view.properties)
        }
        if includingPayload { writer.copy(source, view.payload) }
        return writer.count
    }
}

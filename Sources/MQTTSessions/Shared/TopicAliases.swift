import MQTTPackets

/// The aliases that the other end has given to topics on this connection (MQTT 5.0, section 3.3.2.3.4).
package struct InboundAliases: Sendable {
    private var topics: [[UInt8]] = []
    /// Of all topics.
    private var bytes = 0
    private let bytesMax: Int
    package let maximum: UInt16

    package init(maximum: UInt16, bytesMax: Int = .max) {
        self.maximum = maximum
        self.bytesMax = bytesMax
    }

    /// Nil where the alias has no topic yet.
    package func topic(_ alias: UInt16) -> [UInt8]? {
        guard Int(alias) < topics.count, !topics[Int(alias)].isEmpty else { return nil }
        return topics[Int(alias)]
    }

    /// False where the alias is 0 or above the maximum [MQTT-3.3.2-9], or the topics are too long together.
    package mutating func define(_ alias: UInt16, _ topic: Span<UInt8>) -> Bool {
        guard alias > 0, alias <= maximum else { return false }
        let known = Int(alias) < topics.count ? topics[Int(alias)].count : 0
        guard bytes - known + topic.count <= bytesMax else { return false }
        bytes += topic.count - known
        while topics.count <= Int(alias) { topics.append([]) }
        if !topic.isEqual(to: topics[Int(alias)]) {
            topics[Int(alias)] = topic.toArray()
        }
        return true
    }

    package func isWithinMaximum(_ alias: UInt16) -> Bool { alias > 0 && alias <= maximum }
}

/// The aliases that this end gives to topics, up to what the other end allows.
///
/// Once all are given, every eighth topic without one takes over the alias that was given the longest ago: topics that
/// come again and again get one soon, and a stream of ever new topics does not pay for it with each message.
package struct OutboundAliases: Sendable {
    /// Longer topics get no alias: what all connections remember is theirs times the number of receivers.
    private static let topicBytesMax = 256

    package enum Use: Sendable, Equatable {
        /// Send the topic and no alias.
        case none
        /// Send both: the alias is new.
        case define(UInt16)
        /// Send the alias in place of the topic.
        case use(UInt16)
    }

    private var hashes: [UInt64] = []
    private var topics: [[UInt8]] = []
    private var misses = 0
    private var nextVictim = 0
    package let maximum: Int

    package init(maximum: Int) { self.maximum = maximum }

    package mutating func use(_ topic: Span<UInt8>, hash: UInt64) -> Use {
        guard maximum > 0, topic.count <= Self.topicBytesMax else { return .none }
        for at in hashes.indices where hashes[at] == hash && topic.isEqual(to: topics[at]) {
            return .use(UInt16(at + 1))
        }
        if hashes.count < maximum {
            hashes.append(hash)
            topics.append(topic.toArray())
            return .define(UInt16(hashes.count))
        }
        misses += 1
        guard misses % 8 == 0 else { return .none }
        let victim = nextVictim
        nextVictim = (nextVictim + 1) % maximum
        hashes[victim] = hash
        topics[victim] = topic.toArray()
        return .define(UInt16(victim + 1))
    }
}

/// The aliases that a client gives to its topics; the topic that was not used for the longest gives up its own.
///
///     recent ─▶ a/1 ⇄ a/7 ⇄ a/3 ◀─ oldest      a ring through `next` and `previous`, with slot 0 between its ends
package struct RecentAliases: Sendable {
    package enum Use: Sendable, Equatable {
        /// Send the topic and no alias.
        case none
        /// Send both: the alias is new.
        case define(UInt16)
        /// Send the alias in place of the topic.
        case use(UInt16)
    }

    private var aliases: [String: UInt16] = [:]
    /// Indexed by alias; 0 is the ring's head.
    private var topics: [String] = []
    private var next: [UInt16] = []
    private var previous: [UInt16] = []
    private let maximum: Int

    package init(maximum: Int) {
        self.maximum = min(maximum, 65_535)
        guard maximum > 0 else { return }
        topics = [""]
        next = [0]
        previous = [0]
    }

    package mutating func use(_ topic: String) -> Use {
        guard maximum > 0 else { return .none }
        if let alias = aliases[topic] {
            if next[0] != alias {
                unlink(alias)
                linkFirst(alias)
            }
            return .use(alias)
        }
        let alias: UInt16
        if topics.count <= maximum {
            alias = UInt16(topics.count)
            topics.append(topic)
            next.append(0)
            previous.append(0)
        } else {
            alias = previous[0]
            unlink(alias)
            aliases[topics[Int(alias)]] = nil
            topics[Int(alias)] = topic
        }
        aliases[topic] = alias
        linkFirst(alias)
        return .define(alias)
    }

    private mutating func unlink(_ alias: UInt16) {
        let (before, after) = (previous[Int(alias)], next[Int(alias)])
        next[Int(before)] = after
        previous[Int(after)] = before
    }

    private mutating func linkFirst(_ alias: UInt16) {
        let second = next[0]
        next[0] = alias
        previous[Int(alias)] = 0
        next[Int(alias)] = second
        previous[Int(second)] = alias
    }
}

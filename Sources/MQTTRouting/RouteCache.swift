import MQTTPackets

/// Topic → route, for the topics that are published to again and again.
///
/// A table of fixed size; a topic may stand in four places next to one another, and a new one takes the place of one of
/// them. An entry counts only while no filter that could match its topic has changed. It never holds more than
/// `bytesMax`: beyond, it starts anew.
package struct RouteCache: Sendable {
    private struct Entry: Sendable {
        var hash: UInt64 = 0
        var generation = SubscriptionTree.Generation(level: 0, wildcard: 0)
        var topic: [UInt8] = []
        /// Nil where nothing stands here.
        var route: Route?
        var hits: UInt32 = 0
        /// Whether it was looked up since it came or since its neighbours were last all in use.
        var isUsed = false
        /// Which one it was of all that came.
        var number: UInt32 = 0
    }

    private var entries: [Entry]
    private var count: UInt32 = 0
    package private(set) var bytesHeld = 0
    private let places: Int
    private let bytesMax: Int

    /// `places` is a power of two.
    package init(places: Int = 16_384, bytesMax: Int = 64 << 20) {
        self.places = places
        self.bytesMax = bytesMax
        // Now and not at the first message: the table has half a megabyte.
        entries = Array(repeating: Entry(), count: places)
    }

    /// The route of a topic, from the cache or from the tree.
    package mutating func route(of topic: Span<UInt8>, hash: UInt64, in tree: borrowing SubscriptionTree) -> Route {
        let generation = tree.generation(ofTopic: topic)
        let home = Int(truncatingIfNeeded: hash) & (places &- 1) & ~3
        for place in home..<(home &+ 4)
        where entries[place].hash == hash && topic.isEqual(to: entries[place].topic) {
            entries[place].hits &+= 1
            entries[place].isUsed = true
            if entries[place].generation == generation, let route = entries[place].route { return route }
            return replace(place, topic, hash, generation, tree)
        }
        return replace(victim(home..<(home + 4), hash), topic, hash, generation, tree)
    }

    /// The place that a new topic takes: one that is free, or else the oldest of those that did not come again since
    /// they came. Topics that come once do not push out those that come all the time.
    private mutating func victim(_ places: Range<Int>, _ hash: UInt64) -> Int {
        if let free = places.first(where: { entries[$0].route == nil }) { return free }
        let idle = places.filter { !entries[$0].isUsed }
        if let oldest = idle.max(by: { count &- entries[$0].number < count &- entries[$1].number }) { return oldest }
        for place in places { entries[place].isUsed = false }
        return places.lowerBound + Int(hash >> 40) & 3
    }

    private mutating func replace(
        _ place: Int,
        _ topic: Span<UInt8>,
        _ hash: UInt64,
        _ generation: SubscriptionTree.Generation,
        _ tree: borrowing SubscriptionTree
    ) -> Route {
        let route = tree.match(topic)
        var entry = Entry(hash: hash, generation: generation, topic: topic.toArray(), route: route)
        entry.hits = entries[place].hash == hash ? entries[place].hits : 1
        count &+= 1
        entry.number = count
        bytesHeld += Self.bytes(entry) - Self.bytes(entries[place])
        entries[place] = entry
        if bytesHeld > bytesMax {
            entries = Array(repeating: Entry(), count: places)
            bytesHeld = 0
        }
        return route
    }

    private static var pagePlaces: Int { 2_048 }

    /// The topics of one page that were looked up since this was last called, and how often. Nil behind the last page.
    package mutating func takeHits(page: Int) -> [(topic: [UInt8], hits: Int)]? {
        let places = page * Self.pagePlaces..<(page + 1) * Self.pagePlaces
        guard places.lowerBound < entries.count else { return nil }
        var taken: [(topic: [UInt8], hits: Int)] = []
        for place in places.clamped(to: entries.indices) where entries[place].hits > 0 {
            taken.append((entries[place].topic, Int(entries[place].hits)))
            entries[place].hits = 0
        }
        return taken
    }

    private static func bytes(_ entry: Entry) -> Int { entry.topic.count + (entry.route?.bytesHeld ?? 0) }
}

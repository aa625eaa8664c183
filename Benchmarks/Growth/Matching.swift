import MQTTCore
import MQTTPackets
import MQTTRouting
import NIOCore

/// Finding the receiver of 1,000 hot topics among subscriptions of other topics.
enum Matching {
    private static let passes = 20
    /// What the issue of growth is measured by: the most subscriptions against the fewest.
    private static let ratioMax = 2.0

    /// What stands beside the hot subscriptions.
    struct Setting {
        var others: Int
        var retained = 0
        var groups = 0

        var text: String {
            let others = Table.Cell.count(others).text
            guard retained + groups > 0 else { return others }
            return "\(others), \(Table.Cell.count(retained).text) retained, \(Table.Cell.count(groups).text) groups"
        }
    }

    static func measure(_ scale: Scale) throws -> Table {
        var settings = scale.points(from: 1_000, to: 1_000_000, quickTo: 10_000).map { Setting(others: $0) }
        if let most = settings.last {
            settings.append(
                Setting(others: most.others, retained: scale.isQuick ? 1_000 : 100_000, groups: 1_000)
            )
        }
        var table = Table(
            "matching",
            "ns to find the one receiver of each of 1,000 hot topics, and to publish 64 bytes to it",
            columns: ["subscriptions of other topics", "uncached", "", "cached", "", "publish", ""]
        )
        let columns = [
            try times(settings, scale) { setting in
                let routing = RoutingPoint(setting)
                return { try routing.matchAll(passes: passes) }
            },
            try times(settings, scale) { setting in
                let routing = RoutingPoint(setting)
                return { try routing.routeAll(passes: passes) }
            },
            try times(settings, scale) { setting in
                let point = try PublishingPoint(setting)
                return { try point.publishAll(passes: passes) }
            },
        ]
        for (at, setting) in settings.enumerated() {
            let (uncached, cached, publish) = (columns[0], columns[1], columns[2])
            table.add(
                .text(setting.text),
                .figure(uncached[at]),
                .ratio(uncached[at] / uncached[0]),
                .figure(cached[at]),
                .ratio(cached[at] / cached[0]),
                .figure(publish[at]),
                .ratio(publish[at] / publish[0])
            )
        }
        for (what, times) in zip(["uncached", "cached", "publish"], columns) {
            for at in settings.indices where settings[at].others == settings.last?.others {
                let most = "\(settings[at].text) against \(settings[0].text)"
                table.judge("\(what), \(most):", ratio: times[at] / times[0], atMost: ratioMax)
            }
        }
        return table
    }

    private static func times(
        _ settings: [Setting],
        _ scale: Scale,
        _ work: (Setting) throws -> Work
    ) throws -> [Double] {
        try Timing.medians(settings.map(work), rounds: scale.rounds)
    }
}

/// The tree and the route cache by themselves.
private final class RoutingPoint {
    private var routing: Routing

    init(_ setting: Matching.Setting) { routing = Routing(setting) }

    func matchAll(passes: Int) throws -> Int { try routing.matchAll(passes: passes) }
    func routeAll(passes: Int) throws -> Int { try routing.routeAll(passes: passes) }

    private struct Routing {
        private static let seed: UInt64 = 1
        private var tree = SubscriptionTree(seed: Self.seed)
        private var cache = RouteCache()
        private let topics = Population.shuffledHotTopics.map { Array($0.utf8) }

        init(_ setting: Matching.Setting) {
            Population.mixed(
                others: setting.others,
                other: { insert(Population.otherFilter($0), session: 1 + Int32($0 / 100)) },
                hot: { insert(Population.hotTopic($0), session: 0) }
            )
            for group in 0..<setting.groups {
                insert("$share/group\(group)/" + Population.otherFilter(group), session: Int32(group))
            }
        }

        private mutating func insert(_ filter: String, session: Int32) {
            guard let parsed = ParsedFilter(filter) else { preconditionFailure("\(filter) is no filter") }
            _ = tree.insert(session: session, filter: parsed, options: SubscriptionOptions(), identifier: 0)
        }

        func matchAll(passes: Int) throws -> Int {
            var receivers = 0
            for _ in 0..<passes {
                for topic in topics { receivers += tree.match(topic.span).receivers.count }
            }
            return try checked(receivers, passes)
        }

        mutating func routeAll(passes: Int) throws -> Int {
            var receivers = 0
            for _ in 0..<passes {
                for topic in topics {
                    let hash = TopicHash.hash(topic.span, seed: Self.seed)
                    receivers += cache.route(of: topic.span, hash: hash, in: tree).receivers.count
                }
            }
            return try checked(receivers, passes)
        }

        private func checked(_ receivers: Int, _ passes: Int) throws -> Int {
            guard receivers == passes * topics.count else {
                throw Failure("\(passes * topics.count) topics with one receiver each had \(receivers)")
            }
            return receivers
        }
    }
}

/// The same through the whole core: a publish comes in, its copy goes out.
final class PublishingPoint {
    let broker = Broker()
    let publisher: ConnectionID
    private let hot: ConnectionID
    private let bursts: [ByteBuffer]
    static let messagesOfBurst = 10
    private static let filtersOfPacket = 100

    init(_ setting: Matching.Setting) throws {
        publisher = try broker.connect("publisher")
        hot = try broker.connect("hot")
        let publishes = Population.shuffledHotTopics.map {
            Packet.publish(Publish(topic: $0, payload: ByteBuffer(repeating: 0x78, count: 64)))
        }
        bursts = stride(from: 0, to: publishes.count, by: Self.messagesOfBurst).map { [broker] in
            broker.encoded(Array(publishes[$0..<($0 + Self.messagesOfBurst)]))
        }
        try fill(setting)
    }

    private func fill(_ setting: Matching.Setting) throws {
        var filters: [String] = []
        var sessions = 0
        func flush() throws {
            guard !filters.isEmpty else { return }
            try broker.subscribe(filters, from: try broker.connect("other\(sessions)"))
            sessions += 1
            filters = []
        }
        try Population.mixed(
            others: setting.others,
            other: { number in
                filters.append(Population.otherFilter(number))
                if filters.count == Self.filtersOfPacket { try flush() }
            },
            hot: { try broker.subscribe([Population.hotTopic($0)], from: hot) }
        )
        try flush()
        try retain(0..<setting.retained, in: broker, from: publisher)
        for group in 0..<setting.groups {
            let member = try broker.connect("member\(group)")
            try broker.subscribe(["$share/group\(group)/" + Population.otherFilter(group)], from: member)
        }
    }

    /// Nanoseconds of one burst of ten messages.
    func publishBurst(_ number: Int) throws -> Double {
        let burst = bursts[number % bursts.count]
        return try Timing.nanoseconds {
            try broker.receive(burst, from: publisher)
            broker.takeOutput()
        }
    }

    func publishAll(passes: Int) throws -> Int {
        let before = broker.statistics.publishSent
        for _ in 0..<passes {
            for burst in bursts {
                try broker.receive(burst, from: publisher)
                broker.takeOutput()
            }
        }
        let (sent, steps) = (Int(broker.statistics.publishSent - before), passes * Population.hotCount)
        guard sent == steps else { throw Failure("of \(steps) messages \(sent) were sent") }
        return steps
    }
}

/// Retains a message of 64 bytes for each number.
func retain(_ range: Range<Int>, in broker: Broker, from publisher: ConnectionID) throws {
    let payload = ByteBuffer(repeating: 0x78, count: 64)
    for number in range {
        let publish = Publish(topic: Population.retainedTopic(number), payload: payload, isRetained: true)
        try broker.send(.publish(publish), from: publisher)
    }
}

import MQTTPackets
import MQTTRouting
import NIOCore

/// What a SUBSCRIBE and a retained PUBLISH cost among retained messages of other topics.
enum RetainedLookUp {
    private static let lookUps = 1_000

    static func measure(_ scale: Scale) throws -> Table {
        let counts = scale.points(from: 1_000, to: 1_000_000, quickTo: 10_000)
        var table = Table(
            "retained",
            "ns to find the message of a topic, the one that site/7/+/N/state matches, the one that site/+/device/N/state "
                + "matches below 1,000 sites, each of the first 1,000 that site/# matches; and to replace a message",
            columns: ["retained messages", "topic", "site/7/+", "site/+", "site/#", "replace"]
        )
        let points = counts.map(Point.init)
        func medians(_ work: @escaping (Point) throws -> Int) throws -> [Double] {
            try Timing.medians(points.map { point in { try work(point) } }, rounds: scale.rounds)
        }
        let columns = try [
            medians { try $0.findTopics() },
            medians { try $0.find($0.deepFilters, messages: 1) },
            medians { try $0.find($0.shallowFilters, messages: 1) },
            medians { try $0.find($0.allFilters, messages: lookUps) },
            medians { $0.replace() },
        ]
        for (at, count) in counts.enumerated() { table.add([.count(count)] + columns.map { .figure($0[at]) }) }
        return table
    }

    private final class Point {
        private var retained = RetainedMessages()
        private let topics: [[UInt8]]
        private let replacements: [Message]
        /// Level by level.
        let deepFilters: [[[UInt8]]]
        let shallowFilters: [[[UInt8]]]
        let allFilters = [Point.levels("site/#")]

        init(count: Int) {
            // Far from one another, whatever the count.
            let numbers = (0..<lookUps).map { $0 * 7_919 % count }
            topics = numbers.map { Array(Population.retainedTopic($0).utf8) }
            replacements = numbers.map(Self.message)
            deepFilters = numbers.map { Self.levels("site/\($0 % 1_000)/+/\($0)/state") }
            shallowFilters = numbers.prefix(10).map { Self.levels("site/+/device/\($0)/state") }
            for number in 0..<count { retained.set(Self.message(number)) }
        }

        private static func message(_ number: Int) -> Message {
            let topic = Population.retainedTopic(number)
            return Message(Publish(topic: topic, payload: ByteBuffer(repeating: 0x78, count: 64), isRetained: true))
        }

        private static func levels(_ filter: String) -> [[UInt8]] {
            filter.split(separator: "/").map { Array($0.utf8) }
        }

        func findTopics() throws -> Int {
            try checked(topics.count { retained.get($0.span) != nil }, topics.count)
        }

        /// So many messages of each filter.
        func find(_ filters: [[[UInt8]]], messages: Int) throws -> Int {
            var found = 0
            for filter in filters {
                var (left, key, budget) = (messages, [UInt8](), Int.max)
                while left > 0, case .found(let match) = retained.next(after: key, matching: filter, budget: &budget) {
                    key = Array(match.message.topic.utf8)
                    left -= 1
                    found += 1
                }
            }
            return try checked(found, filters.count * messages)
        }

        private func checked(_ found: Int, _ expected: Int) throws -> Int {
            guard found == expected else { throw Failure("of \(expected) retained messages \(found) were found") }
            return found
        }

        func replace() -> Int {
            for message in replacements { retained.set(message) }
            return replacements.count
        }
    }
}

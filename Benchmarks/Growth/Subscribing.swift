import MQTTCore
import MQTTPackets
import NIOCore

/// SUBSCRIBE and UNSUBSCRIBE between publishes, and what they do to the publishes.
enum Subscribing {
    static func measure(_ scale: Scale) throws -> Table {
        let counts = scale.points(from: 1_000, to: 1_000_000, quickTo: 10_000)
        var table = Table(
            "subscribing",
            "ns for a SUBSCRIBE, for an UNSUBSCRIBE, for each of ten publishes to hot topics after each; and how many of "
                + "both a second there are with these publishes",
            columns: [
                "subscriptions", "subscribe", "unsubscribe", "publish, quiet", "beside other/…", "beside site/…",
                "a second",
            ]
        )
        let points = try counts.map { try Point(others: $0) }
        var churns = Array(repeating: [Point.Churn](), count: points.count)
        for round in 0...scale.rounds {
            for (at, point) in points.enumerated() {
                let churn = try point.churn()
                if round > 0 { churns[at].append(churn) }
            }
        }
        for (at, count) in counts.enumerated() {
            func median(_ time: (Point.Churn) -> Double) -> Double { Timing.median(churns[at].map(time)) }
            let publish = median { ($0.publishBesideOther + $0.publishBesideSame) / 2 }
            let each =
                median { ($0.subscribe + $0.unsubscribe) / 2 } + publish * Double(PublishingPoint.messagesOfBurst)
            table.add(
                .count(count),
                .figure(median(\.subscribe)),
                .figure(median(\.unsubscribe)),
                .figure(median(\.publishQuiet)),
                .figure(median(\.publishBesideOther)),
                .figure(median(\.publishBesideSame)),
                .figure(1e9 / each)
            )
        }
        return table
    }

    private final class Point {
        /// Nanoseconds each.
        struct Churn {
            var subscribe = 0.0
            var unsubscribe = 0.0
            var publishQuiet = 0.0
            var publishBesideOther = 0.0
            var publishBesideSame = 0.0
        }

        private static let subscriptions = 1_000
        let publishing: PublishingPoint
        private let visitor: ConnectionID

        init(others: Int) throws {
            publishing = try PublishingPoint(Matching.Setting(others: others))
            visitor = try publishing.broker.connect("visitor")
        }

        /// Comes and goes below a first level of its own, which leaves the routes of the hot topics cached, and then
        /// below theirs, which does not.
        func churn() throws -> Churn {
            var churn = Churn()
            var other = Totals()
            var same = Totals()
            // The last round has left no route in the cache.
            _ = try publishing.publishAll(passes: 1)
            var quiet = 0.0
            for burst in 0..<2 * Self.subscriptions { quiet += try publishing.publishBurst(burst) }
            try run("other", &other)
            try run("site", &same)
            let steps = Double(2 * Self.subscriptions)
            churn.subscribe = (other.subscribe + same.subscribe) / steps
            churn.unsubscribe = (other.unsubscribe + same.unsubscribe) / steps
            let messages = Double(2 * Self.subscriptions * PublishingPoint.messagesOfBurst)
            churn.publishQuiet = quiet / messages
            churn.publishBesideOther = other.publish / messages
            churn.publishBesideSame = same.publish / messages
            return churn
        }

        private struct Totals {
            var subscribe = 0.0
            var unsubscribe = 0.0
            var publish = 0.0
        }

        private func run(_ firstLevel: String, _ totals: inout Totals) throws {
            let broker = publishing.broker
            let before = broker.statistics
            for number in 0..<Self.subscriptions {
                let filter = "\(firstLevel)/\(number)/visited/+"
                let subscribe = Subscribe(packetID: 1, filters: [Subscribe.Filter(filter)])
                totals.subscribe += try turn(broker.encoded([.subscribe(subscribe)]))
                totals.publish += try publishing.publishBurst(2 * number)
                let unsubscribe = Unsubscribe(packetID: 1, filters: [filter])
                totals.unsubscribe += try turn(broker.encoded([.unsubscribe(unsubscribe)]))
                totals.publish += try publishing.publishBurst(2 * number + 1)
            }
            let sent = Int(broker.statistics.publishSent - before.publishSent)
            guard sent == 2 * Self.subscriptions * PublishingPoint.messagesOfBurst else {
                throw Failure("\(sent) messages were sent beside subscriptions that come and go")
            }
            guard broker.statistics.subscriptions == before.subscriptions else {
                throw Failure("\(broker.statistics.subscriptions) subscriptions are left of \(before.subscriptions)")
            }
        }

        private func turn(_ packet: ByteBuffer) throws -> Double {
            try Timing.nanoseconds {
                try publishing.broker.receive(packet, from: visitor)
                publishing.broker.takeOutput()
            }
        }
    }
}

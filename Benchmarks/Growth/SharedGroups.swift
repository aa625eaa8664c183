import MQTTCore
import MQTTPackets
import NIOCore

/// Publishing to shared subscriptions: among groups of other topics, to several of one topic, and with many members.
enum SharedGroups {
    static func measure(_ scale: Scale) throws -> Table {
        let points: [Point.Shape] =
            scale.points(from: 10, to: 100_000, quickTo: 1_000).map { .init(others: $0, groups: 1, members: 10) }
            + scale.points(from: 10, to: 1_000, quickTo: 100).map { .init(others: 0, groups: $0, members: 1) }
            + scale.points(from: 100, to: 10_000, quickTo: 100).map { .init(others: 0, groups: 1, members: $0) }
        var table = Table(
            "shared",
            "ns for each copy of a message that a shared subscription gives to one of its members",
            columns: ["groups of other topics", "groups of the topic", "members of each", "a copy"]
        )
        let works = try points.map { shape in
            let point = try Point(shape)
            return { try point.publish() }
        }
        let times = try Timing.medians(works, rounds: scale.rounds)
        for (shape, time) in zip(points, times) {
            table.add(.count(shape.others), .count(shape.groups), .count(shape.members), .figure(time))
        }
        return table
    }

    private final class Point {
        struct Shape {
            let others: Int
            let groups: Int
            let members: Int
        }

        private static let copies = 10_000
        private let shape: Shape
        private let broker = Broker()
        private let publisher: ConnectionID
        private let packet: ByteBuffer

        init(_ shape: Shape) throws {
            self.shape = shape
            publisher = try broker.connect("publisher")
            let publish = Publish(topic: Population.hotTopic(0), payload: ByteBuffer(repeating: 0x78, count: 64))
            packet = broker.encoded([.publish(publish)])
            // A session has one subscription of another topic, as a connection more is what a group more costs.
            for other in 0..<shape.others {
                let filter = "$share/group\(other)/" + Population.otherFilter(other)
                try broker.subscribe([filter], from: try broker.connect("other\(other)"))
            }
            for member in 0..<shape.members {
                let id = try broker.connect("member\(member)")
                for group in 0..<shape.groups {
                    try broker.subscribe(["$share/group\(group)/" + Population.hotTopic(0)], from: id)
                }
            }
        }

        func publish() throws -> Int {
            let before = broker.statistics.publishSent
            let messages = max(1, Self.copies / shape.groups)
            for _ in 0..<messages {
                try broker.receive(packet, from: publisher)
                broker.takeOutput()
            }
            let (sent, expected) = (Int(broker.statistics.publishSent - before), messages * shape.groups)
            guard sent == expected else { throw Failure("of \(expected) copies \(sent) were sent") }
            return sent
        }
    }
}

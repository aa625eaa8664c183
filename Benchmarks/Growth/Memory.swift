import CHeap
import MQTTCore
import MQTTPackets
import NIOCore

/// Bytes of heap that each thing the core holds takes, as there come to be more of them.
enum Memory {
    private static let ofSession = 100
    private static let topicsOfCache = 100_000

    static func measure(_ scale: Scale) throws -> Table {
        let counts = scale.points(from: 1_000, to: 1_000_000, quickTo: 10_000)
        var table = Table(
            "memory",
            "bytes of heap in the core for each, with its part of tables and indexes, when there are so many",
            columns: ["each"] + counts.map { Table.Cell.count($0).text }
        )
        for thing in things {
            let bytes = try grow(thing, counts)
            table.add([.text(thing.name)] + bytes.map { .figure($0) })
        }
        return table
    }

    private struct Thing {
        let name: String
        /// Makes what is not counted, such as sessions, for so many things.
        var prepare: (_ count: Int, Broker) throws -> [ConnectionID] = { _, _ in [] }
        /// Adds those of these numbers. The publisher is a client that is there in any case.
        let add: (Range<Int>, Broker, _ clients: [ConnectionID], _ publisher: ConnectionID) throws -> Void
        /// As the core counts them.
        let count: (Statistics) -> Int
    }

    private static var things: [Thing] {
        [
            Thing(
                name: "subscription, 100 a session, each to a filter of its own",
                prepare: connect,
                add: { numbers, broker, clients, _ in
                    try subscribe(numbers, broker, clients) { Population.otherFilter($0) }
                },
                count: \.subscriptions
            ),
            Thing(
                name: "subscription, 100 a session, all to the same 100 filters",
                prepare: connect,
                add: { numbers, broker, clients, _ in
                    try subscribe(numbers, broker, clients) { Population.otherFilter($0 % ofSession) }
                },
                count: \.subscriptions
            ),
            Thing(
                name: "retained message of 64 bytes",
                add: { numbers, broker, _, publisher in try retain(numbers, in: broker, from: publisher) },
                count: \.retainedMessages
            ),
            Thing(
                name: "offline session",
                add: { numbers, broker, _, _ in _ = try leave(numbers, broker) },
                count: \.clientsDisconnected
            ),
            Thing(
                name: "offline session with a subscription that all have",
                add: { numbers, broker, _, _ in _ = try leave(numbers, broker) { _ in "all/of/them" } },
                count: \.clientsDisconnected
            ),
            Thing(
                name: "queued message of 64 bytes, 100 a session",
                prepare: { try leave(0..<$0 / ofSession, $1) { "queue/\($0)" } },
                add: { numbers, broker, _, publisher in
                    for number in numbers { try queue("queue/\(number / ofSession)", broker, publisher) }
                },
                count: \.copiesUnfinished
            ),
            Thing(
                name: "queued message of 64 bytes, the same in 1,000 sessions",
                prepare: { _, broker in try leave(0..<1_000, broker) { _ in "queue/all" } },
                add: { numbers, broker, _, publisher in
                    for _ in 0..<numbers.count / 1_000 { try queue("queue/all", broker, publisher) }
                },
                count: \.copiesUnfinished
            ),
            Thing(
                name: "connected client, without its channel",
                add: { numbers, broker, _, _ in
                    for number in numbers { _ = try broker.connect("client\(number)") }
                },
                count: { $0.clientsConnected - 1 }
            ),
        ]
    }

    /// Bytes of each, at each count.
    private static func grow(_ thing: Thing, _ counts: [Int]) throws -> [Double] {
        let broker = Broker()
        let publisher = try broker.connect("publisher")
        // The route cache is full before: it has a size of its own.
        for number in 0..<topicsOfCache { try broker.send(.publish(publish("cached/\(number)")), from: publisher) }
        let clients = try thing.prepare(counts.last ?? 0, broker)
        let before = try heapBytes()
        var added = 0
        return try counts.map { count in
            try thing.add(added..<count, broker, clients, publisher)
            added = count
            guard thing.count(broker.statistics) == count else {
                throw Failure("\(thing.name): \(thing.count(broker.statistics)) of \(count) are there")
            }
            return Double(try heapBytes() - before) / Double(count)
        }
    }

    private static func heapBytes() throws -> Int {
        let bytes = Int(heap_bytes_in_use())
        guard bytes >= 0 else { throw Failure("this C library does not say how much it has allocated") }
        return bytes
    }

    private static func connect(_ count: Int, _ broker: Broker) throws -> [ConnectionID] {
        try (0..<count / ofSession).map { try broker.connect("client\($0)") }
    }

    private static func subscribe(
        _ numbers: Range<Int>,
        _ broker: Broker,
        _ clients: [ConnectionID],
        filter: (Int) -> String
    ) throws {
        for first in stride(from: numbers.lowerBound, to: numbers.upperBound, by: ofSession) {
            try broker.subscribe((first..<first + ofSession).map(filter), from: clients[first / ofSession])
        }
    }

    /// Sessions that outlive their connections, which are over.
    private static func leave(
        _ numbers: Range<Int>,
        _ broker: Broker,
        filter: ((Int) -> String)? = nil
    ) throws -> [ConnectionID] {
        for number in numbers {
            let id = try broker.connect("sleeper\(number)", expiryInterval: .max)
            if let filter { try broker.subscribe([filter(number)], qos: .atLeastOnce, from: id) }
            try broker.disconnect(id)
        }
        return []
    }

    private static func queue(_ topic: String, _ broker: Broker, _ publisher: ConnectionID) throws {
        var publish = publish(topic)
        publish.qos = .atLeastOnce
        publish.packetID = 1
        try broker.send(.publish(publish), from: publisher)
    }

    private static func publish(_ topic: String) -> Publish {
        Publish(topic: topic, payload: ByteBuffer(repeating: 0x78, count: 64))
    }
}

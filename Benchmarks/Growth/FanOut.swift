import MQTTCore
import MQTTPackets
import NIOCore

/// One publish to many receivers: how long the core is busy with it, which is how long its lock is held.
enum FanOut {
    private static let copies = 100_000
    private static let messagesMax = 1_000

    static func measure(_ scale: Scale) throws -> Table {
        var table = Table(
            "fan-out",
            "µs that the core takes for one message of 64 bytes to all, and ns a receiver; which at QoS 1 have acknowledged the one before",
            columns: ["receivers", "QoS 0", "longest", "a receiver", "QoS 1", "longest", "a receiver", "taking output"]
        )
        for receivers in scale.points(from: 1, to: 10_000, quickTo: 1_000) {
            let first = try measure(receivers, .atMostOnce, scale)
            let second = try measure(receivers, .atLeastOnce, scale)
            table.add(
                .count(receivers),
                .figure(first.typical / 1e3),
                .figure(first.longest / 1e3),
                .figure(first.typical / Double(receivers)),
                .figure(second.typical / 1e3),
                .figure(second.longest / 1e3),
                .figure(second.typical / Double(receivers)),
                .figure(first.taking / 1e3)
            )
        }
        return table
    }

    /// Nanoseconds of one message.
    private struct Times {
        var typical: Double
        var longest: Double
        /// Taking the output, which other turns do where receivers are on other loops.
        var taking: Double
    }

    private static func measure(_ receivers: Int, _ qos: QoS, _ scale: Scale) throws -> Times {
        let broker = Broker()
        let publisher = try broker.connect("publisher")
        let ids = try (0..<receivers).map { try broker.connect("receiver\($0)") }
        for id in ids { try broker.subscribe(["news/all"], qos: qos, from: id) }
        let messages = min(messagesMax, (scale.isQuick ? 10_000 : copies * scale.rounds) / receivers + 10)
        let payload = ByteBuffer(repeating: 0x78, count: 64)
        var handling: [Double] = []
        var taking: [Double] = []
        for number in 1...messages {
            var publish = Publish(topic: "news/all", payload: payload, qos: qos)
            if qos > .atMostOnce { publish.packetID = UInt16(number) }
            let packet = broker.encoded([.publish(publish)])
            var output: [OutputEntry] = []
            handling.append(try Timing.nanoseconds { try broker.receive(packet, from: publisher) })
            taking.append(Timing.nanoseconds { output = broker.takeOutput() })
            // The publisher has its acknowledgement.
            guard output.count == receivers + (qos > .atMostOnce ? 1 : 0) else {
                throw Failure("a message to \(receivers) receivers went to \(output.count)")
            }
            if qos > .atMostOnce { try acknowledge(UInt16(number), ids, broker) }
        }
        guard broker.statistics.copiesUnfinished == 0 else {
            throw Failure("\(broker.statistics.copiesUnfinished) copies are not acknowledged")
        }
        // The first makes room in every array.
        let settled = handling.dropFirst()
        return Times(
            typical: Timing.median(Array(settled)),
            longest: settled.max() ?? 0,
            taking: Timing.median(Array(taking.dropFirst()))
        )
    }

    private static func acknowledge(_ packetID: UInt16, _ receivers: [ConnectionID], _ broker: Broker) throws {
        let packet = broker.encoded([.puback(Acknowledgement(packetID: packetID))])
        for id in receivers { try broker.receive(packet, from: id) }
        broker.takeOutput()
    }
}

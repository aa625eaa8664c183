import Device
import MQTTTesting
import Testing

@Suite(.timeLimit(.minutes(1))) struct ThermometerTests {
    @Test("it publishes what it measures", arguments: TestWorld.allCases)
    func publishes(_ world: TestWorld) async throws {
        try await withBroker(world) { broker, connect in
            let reader = try await connect("reader")
            try await reader.subscribe("thermometers/+/temperature")
            let link = try await connect.link("the device's link")
            let thermometer = try Thermometer("attic", link.configuration())
            let running = Task { try await thermometer.run(every: .seconds(60), by: connect.clock) { 21.5 } }
            #expect(try await reader.nextPayload() == "21.5")
            for _ in 0..<2 { try await link.next(.puback) }
            running.cancel()
            try await link.nextEnd()
            #expect(
                link.transcript.only(.connect, .publish, .disconnect)
                    == [
                        "→ CONNECT attic will thermometers/attic/state",
                        #"→ PUBLISH thermometers/attic/temperature "21.5" QoS 1 id 1"#,
                        #"→ PUBLISH thermometers/attic/state "here" QoS 1 id 2 retain"#,
                        "→ DISCONNECT success",
                    ]
            )
        }
    }

    @Test("what it measures without a network is published, in order, once there is one again")
    func offlineQueue() async throws {
        try await withBroker { broker, connect in
            let reader = try await connect("reader")
            try await reader.subscribe("thermometers/+/temperature")
            let link = try await connect.link()
            let thermometer = try Thermometer("attic", link.configuration())
            let minutes = Counter()
            let running = Task {
                try await thermometer.run(every: .seconds(60), by: connect.clock) { Double(minutes.next()) }
            }
            defer { running.cancel() }
            #expect(try await reader.nextPayload() == "0.0")

            try await link.refuse()
            try await link.cut()
            try await connect.clock.advance(by: .seconds(10 * 60))
            #expect(broker.statistics.clientsConnected == 1)

            try await link.accept()
            for minute in 1...10 {
                let reading = try await connect.clock.letTimePass { try await reader.nextPayload() }
                #expect(reading == "\(Double(minute))")
            }
        }
    }

    @Test("others are told when it is lost, and when it is back")
    func will() async throws {
        try await withBroker { broker, connect in
            let watcher = try await connect("watcher")
            try await watcher.subscribe("thermometers/attic/state")
            let link = try await connect.link()
            let thermometer = try Thermometer("attic", link.configuration())
            let running = Task { try await thermometer.run(every: .seconds(60), by: connect.clock) { 21.5 } }
            defer { running.cancel() }
            #expect(try await watcher.nextPayload() == "here")

            // Nobody closes the connection: nothing goes through it any more.
            try await link.drop()
            #expect(try await connect.clock.letTimePass { try await watcher.nextPayload() } == "lost")
            #expect(try await connect.clock.letTimePass { try await watcher.nextPayload() } == "here")
        }
    }
}

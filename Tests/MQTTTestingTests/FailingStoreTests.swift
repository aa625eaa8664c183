import MQTTPackets
import MQTTServer
import MQTTTesting
import Testing

@Suite("A store that fails when it is told to", .timeLimit(.minutes(1))) struct FailingStoreTests {
    @Test("an acknowledgement waits for a commit that is held", arguments: TestWorld.allCases)
    func held(_ world: TestWorld) async throws {
        let store = FailingStore()
        try await withBroker(world, store: store) { _, connect in
            let client = try await connect("client")
            let other = try await connect("other")
            store.holdCommits()
            try await client.publish("t", "x", .atLeastOnce, id: 1, isRetained: true)
            try await store.commitWaits()
            try await other.ping()
            #expect(client.received == 1)
            store.release()
            #expect(try await client.next().kind == .puback)
        }
    }

    @Test(
        "a commit that fails ends the broker, and what was acknowledged is there for the next",
        arguments: TestWorld.allCases
    )
    func failed(_ world: TestWorld) async throws {
        let store = FailingStore()
        await #expect(throws: FailingStore.Failure()) {
            try await withBroker(world, store: store) { _, connect in
                let client = try await connect("client", expiry: 60)
                try await client.subscribe("t", .atLeastOnce)
                try await client.publish("kept", "x", .atLeastOnce, id: 1, isRetained: true)
                #expect(try await client.next().kind == .puback)
                store.failNextCommit()
                try await client.publish("lost", "x", .atLeastOnce, id: 2, isRetained: true)
                #expect(try await client.nextOrEnd() != .puback(Acknowledgement(packetID: 2)))
            }
        }
        try await withBroker(world, store: store) { _, connect in
            let client = try await connect("other")
            try await client.subscribe("#")
            guard case .publish(let publish) = try await client.next() else { throw client.unexpected("PUBLISH") }
            #expect(publish.topic == "kept")
            try await client.ping()
        }
    }

    @Test("a read that fails stops one session's delivery and nobody else", arguments: TestWorld.allCases)
    func unreadable(_ world: TestWorld) async throws {
        let store = FailingStore()
        try await withBroker(world, store: store) {
            $0.limits.windowBytesInAllMax = 1 << 10
        } _: { _, connect in
            let sleeper = try await connect("sleeper", expiry: 600)
            try await sleeper.subscribe("t", .atLeastOnce)
            try await sleeper.leave()
            let publisher = try await connect("publisher")
            for id in 1...UInt16(2_000) {
                try await publisher.publish("t", "\(id)", .atLeastOnce, id: id)
                _ = try await publisher.next()
            }
            store.holdReads()
            store.failNextRead()
            let back = try await connect("sleeper", expiry: 600)
            try await store.readWaits()
            store.release()
            // What comes is acknowledged, until a ping is answered behind which nothing has come.
            var (got, gotBefore) = (0, -1)
            while got > gotBefore {
                gotBefore = got
                try await back.send(.pingreq)
                while case .publish(let publish)? = try await back.nextOrEnd() {
                    got += 1
                    try await back.send(.puback(Acknowledgement(packetID: try #require(publish.packetID))))
                }
            }
            #expect(got < 2_000)
            try await publisher.ping()
        }
    }
}

import MQTTCore
import MQTTPackets
import Testing

@Suite("Simulation of takeover, replay and queues")
struct QueueSimulationTests {
    @Test("a session taken over 1,000 times loses nothing, repeats nothing at QoS 2, and leaves nothing behind")
    func takeover() {
        scene { world in
            let publisher = world.add("publisher", expiry: .max)
            let traveller = world.add("traveller", expiry: .max) {
                $0.connect.properties[integer: .receiveMaximum] = 3
                $0.isStable = true
                $0.subscriptions = [SimulatedSubscription("t/#", SubscriptionOptions(qos: .exactlyOnce))]
            }
            try world.comeToRest()
            world.subscribe(traveller, traveller.plan.subscriptions)
            try world.comeToRest()
            world.isEarly = false
            for round in 0..<1_000 {
                world.publish("t/\(round % 3)", round % 2 == 0 ? .atLeastOnce : .exactlyOnce, by: publisher)
                try world.connect(traveller)
                try world.move(times: world.random.below(40))
            }
            try world.comeToRest()
            try world.checkNothingIsLeftOver()
            try world.checkDeliveries()
            world.now += 200_000
            try world.expire()
            try expect(world.core.timerCount <= 2, "\(world.core.timerCount) timers of two connections")
        }
    }

    @Test("a client forgets its session with a clean start, although CONNACK is lost [MQTT-3.1.2-4]")
    func cleanStart() {
        scene { world in
            let publisher = world.add("publisher", expiry: .max)
            let reader = world.add("reader", expiry: .max)
            try world.comeToRest()
            world.subscribe(reader, to: "t", .exactlyOnce)
            try world.comeToRest()
            world.publish("t", .exactlyOnce, by: publisher)
            while reader.arrivals.isEmpty { try world.move() }
            // PUBREL has not come: the client holds the packet identifier, which the new session gives again.
            try world.connect(reader, cleanStart: true)
            while !reader.current.isEmpty { try world.move() }
            try world.connect(reader, cleanStart: false)
            try world.comeToRest()
            world.subscribe(reader, to: "t", .exactlyOnce)
            try world.comeToRest()
            world.publish("t", .exactlyOnce, by: publisher)
            try world.comeToRest()
            try world.checkNothingIsLeftOver()
            try expect(reader.arrivals.map(\.number) == [0, 1], "\(reader.arrivals) arrive")
        }
    }

    @Test("a slow reader of 20,000 retained topics gets each, the retained message before any live one")
    func replay() {
        simulate(Seeds.all.prefix(2)) { seed, isLogging in
            var configuration = CoreConfiguration()
            configuration.isDurable = seed % 2 == 0
            configuration.limits.sendBufferBytesPaced = 4_000
            return World(configuration, seed: seed, isLogging: isLogging)
        } _: { world in
            let publisher = world.add("publisher", expiry: .max)
            let reader = world.add("reader", expiry: .max) {
                $0.connect.properties[integer: .receiveMaximum] = 20
                $0.isWild = true
                $0.isSlow = true
            }
            try world.comeToRest()
            for topic in 0..<20_000 { world.publish("r/\(topic)", .atLeastOnce, isRetained: true, by: publisher) }
            try world.comeToRest()
            world.subscribe(reader, to: "r/#", .atLeastOnce)
            while !reader.requested.isEmpty { try world.move() }
            for round in 0..<2_000 {
                let topic = "r/\(world.random.below(20_000))"
                world.publish(topic, .atLeastOnce, isRetained: world.random.oneIn(4), by: publisher)
                if round % 700 == 350 { world.cut(reader) }
                if reader.link == nil { try world.connect(reader) }
                try world.move(times: 5)
            }
            try world.comeToRest()
            try world.checkNothingIsLeftOver()
            var isLive: [String: Bool] = [:]
            for arrival in reader.arrivals {
                let topic = world.messages[arrival.number].topic
                let isRepeated = reader.replayed[arrival.number, default: 0] > 1
                let isInOrder = !arrival.isRetained || isLive[topic] != true || isRepeated
                try expect(isInOrder, "the retained message of \(topic) comes after a live one")
                isLive[topic] = isLive[topic] == true || !arrival.isRetained
            }
            try expect(isLive.count == 20_000, "\(isLive.count) topics arrive")
            let live = (20_000..<22_000).count { reader.deliveries[$0, default: 0] > 0 }
            try expect(live == 2_000, "\(live) of 2000 live messages arrive")
        }
    }

    @Test("UNSUBSCRIBE ends the replay of a subscription [MQTT-3.10.4-2]")
    func replayGivenUp() {
        scene { world in
            let publisher = world.add("publisher", expiry: .max)
            let reader = world.add("reader", expiry: .max) { $0.isWild = true }
            try world.comeToRest()
            for topic in 0..<2_000 { world.publish("r/\(topic)", .atLeastOnce, isRetained: true, by: publisher) }
            try world.comeToRest()
            world.subscribe(reader, to: "r/#", .atLeastOnce)
            while reader.arrivals.count < 20 { try world.move() }
            _ = reader.session.unsubscribe(["r/#"])
            world.flush(reader)
            try world.comeToRest()
            try world.checkNothingIsLeftOver()
            try expect(reader.arrivals.count < 1_500, "\(reader.arrivals.count) of 2000 arrive all the same")
        }
    }

    @Test("a queue at its limit drops the newest messages and counts them; a 5.0 publisher is told 0x97")
    func queueLimit() {
        scene {
            $0.limits.queuedMessagesMax = 10
            $0.limits.storedMessagesMax = 10
        } _: { world in
            let publisher = world.add("publisher", expiry: .max)
            let sleeper = world.add("sleeper", expiry: .max)
            try world.comeToRest()
            world.subscribe(sleeper, to: "q", .atLeastOnce)
            try world.comeToRest()
            world.disconnect(sleeper)
            try world.comeToRest(reconnecting: false)
            for _ in 0..<50 { world.publish("q", .atLeastOnce, by: publisher) }
            try world.comeToRest(reconnecting: false)
            try expect(publisher.unacknowledged.isEmpty, "a dropped message is not acknowledged")
            try expect(publisher.refused == [.quotaExceeded: 40], "the publisher is told \(publisher.refused)")
            let queued = world.core.inspectSession("sleeper")?.queued
            try expect(queued == 10, "\(queued as Int?) messages wait")
            let dropped = world.core.currentStatistics.dropped[.queueFull]
            try expect(dropped == 40, "\(dropped) dropped messages are counted")
            try world.comeToRest()
            try expect(sleeper.arrivals.map(\.number) == Array(0..<10), "\(sleeper.arrivals) arrive")
            try world.checkNothingIsLeftOver()
        }
    }

    @Test("who reads nothing costs a send buffer at most, and is gone after the drain time whatever its keep alive")
    func deafReader() {
        scene {
            $0.limits.sendBufferBytesMax = 50_000
        } _: { world in
            let publisher = world.add("publisher", expiry: .max)
            let deaf = world.add("deaf", keepAlive: 65_535) { $0.keepsAlive = false }
            try world.comeToRest()
            world.subscribe(deaf, to: "#", .atMostOnce)
            try world.comeToRest()
            deaf.link?.readsNothing = true
            for _ in 0..<1_000 {
                world.publish("flood", .atMostOnce, bytes: 1_000, by: publisher)
                try world.comeToRest(reconnecting: false)
                try expect(world.core.unsentBytes < 52_000, "\(world.core.unsentBytes) bytes wait for one reader")
            }
            try expect(world.core.currentStatistics.dropped[.backlog] > 900, "drops are not counted")
            try expect(world.core.inspectSession("deaf") != nil, "the reader is gone too early")
            for _ in 0..<2_500 {
                world.now += 50
                try world.expire()
            }
            try expect(world.core.inspectSession("deaf") == nil, "the reader that reads nothing is still there")
        }
    }
}

import MQTTCore
import MQTTPackets
import NIOCore
import Testing

@Suite("Simulation of limits")
struct LimitSimulationTests {
    @Test("where the oldest goes, an offline session keeps the newest, and what was begun is never dropped")
    func dropOldest() {
        scene {
            $0.limits.queuedMessagesMax = 10
            $0.limits.storedMessagesMax = 10
            $0.limits.inFlightMax = 3
            $0.queuePolicy = .dropOldest
        } _: { world in
            let publisher = world.add("publisher", expiry: .max)
            let sleeper = world.add("sleeper", expiry: .max)
            try world.comeToRest()
            world.subscribe(sleeper, to: "q", .exactlyOnce)
            try world.comeToRest()
            sleeper.link?.readsNothing = true
            for _ in 0..<5 { world.publish("q", .exactlyOnce, by: publisher) }
            try world.comeToRest(reconnecting: false)
            world.cut(sleeper)
            world.leave(sleeper)
            try world.comeToRest(reconnecting: false)
            // Three are begun; of the two that wait and these, ten stay.
            for _ in 0..<50 { world.publish("q", .exactlyOnce, by: publisher) }
            try world.comeToRest(reconnecting: false)
            try expect(publisher.unacknowledged.isEmpty, "a message is not acknowledged")
            try expect(publisher.refused.isEmpty, "the publisher is told \(publisher.refused)")
            let dropped = world.core.currentStatistics.dropped[.queueFull]
            let held = world.core.inspectSession("sleeper")?.unfinished
            try expect(
                dropped == 55 - UInt64(held ?? 0),
                "\(dropped) dropped messages are counted, \(held as Int?) held"
            )
            try world.checkFigures()
            try world.comeToRest()
            let arrived = sleeper.arrivals.map(\.number)
            try expect(arrived.suffix(7) == [48, 49, 50, 51, 52, 53, 54], "\(arrived) arrive")
            try expect(arrived.prefix(3) == [0, 1, 2], "\(arrived) arrive")
            try expect(arrived.count == held, "\(arrived.count) of \(held as Int?) arrive")
            try world.checkNothingIsLeftOver()
        }
    }

    @Test("where it is all queues together that are full, the oldest of a long one gives no more room than is needed")
    func dropOldestInAll() {
        scene {
            // What the store has is not bounded by memory.
            $0.isDurable = false
            $0.limits.queuedBytesInAllMax = 180_000
            $0.queuePolicy = .dropOldest
        } _: { world in
            let publisher = world.add("publisher", expiry: .max)
            let sleepers = ["long", "short", "other"].map { world.add($0, expiry: .max) }
            try world.comeToRest()
            for sleeper in sleepers { world.subscribe(sleeper, to: sleeper.name, .atLeastOnce) }
            try world.comeToRest()
            for sleeper in sleepers { world.disconnect(sleeper) }
            try world.comeToRest(reconnecting: false)
            for (name, count) in [("long", 8), ("short", 5), ("other", 6)] {
                for _ in 0..<count { world.publish(name, .atLeastOnce, bytes: 10_000, by: publisher) }
                try world.comeToRest(reconnecting: false)
            }
            try expect(world.core.currentStatistics.copiesDropped == 0, "something is dropped already")
            for _ in 0..<3 { world.publish("long", .atLeastOnce, bytes: 1_000, by: publisher) }
            world.publish("short", .atLeastOnce, bytes: 1_000, by: publisher)
            try world.comeToRest(reconnecting: false)
            // Two of 10,000 bytes went for the first two of 1,000; then there was room. A short one always has room.
            let queued = sleepers.map { world.core.inspectSession($0.name)?.queued ?? -1 }
            try expect(queued == [9, 6, 6], "\(queued) messages wait")
            let dropped = world.core.currentStatistics.dropped[.queueFull]
            try expect(Int(dropped) == 23 - queued.reduce(0, +), "\(dropped) are dropped")
            try world.comeToRest()
            try expect(publisher.refused.isEmpty, "the publisher is told \(publisher.refused)")
            try world.checkNothingIsLeftOver()
        }
    }

    @Test("where the policy is to disconnect, a connection whose queue is full ends with 0x97, and its queue is kept")
    func disconnectPolicy() {
        scene {
            $0.limits.queuedMessagesMax = 10
            $0.limits.storedMessagesMax = 10
            $0.limits.inFlightMax = 1
            $0.queuePolicy = .disconnect
        } _: { world in
            let publisher = world.add("publisher", expiry: .max)
            let slow = world.add("slow", expiry: .max)
            try world.comeToRest()
            world.subscribe(slow, to: "q", .atLeastOnce)
            try world.comeToRest()
            slow.link?.readsNothing = true
            for _ in 0..<30 { world.publish("q", .atLeastOnce, by: publisher) }
            try world.comeToRest(reconnecting: false)
            try world.pass(milliseconds: 100)
            let left = world.core.inspectSession("slow")
            try expect(left?.isConnected == false, "the connection is still there")
            try expect(left?.queued == 11, "\(left?.queued as Int?) messages are kept")
            world.leave(slow)
            try world.comeToRest()
            try expect(slow.arrivals.count >= 11, "\(slow.arrivals.count) arrive")
            try world.checkFigures()
        }
    }

    @Test("a session with thousands of subscriptions is buried in pages, and nothing reaches it any more")
    func burial() {
        scene {
            $0.limits.deliveriesPerTurn = 300
        } _: { world in
            let publisher = world.add("publisher", expiry: .max)
            let many = world.add("many")
            try world.comeToRest()
            let filters = (0..<2_000).map { SimulatedSubscription("m/\($0)", SubscriptionOptions(qos: .atLeastOnce)) }
            world.subscribe(many, filters)
            try world.comeToRest()
            world.disconnect(many)
            try world.comeToRest(reconnecting: false)
            try expect(world.core.sessionCount == 1, "the session is still there")
            for at in 0..<100 { world.publish("m/\(at)", .atLeastOnce, by: publisher) }
            try world.comeToRest(reconnecting: false)
            try world.checkFigures()
            try expect(world.core.subscriptionCount == 0, "\(world.core.subscriptionCount) subscriptions are left")
            try world.checkFigures()
            // Its place is free again.
            try world.comeToRest()
            world.subscribe(many, to: "m/#", .atLeastOnce)
            try world.comeToRest()
            world.publish("m/1", .atLeastOnce, by: publisher)
            try world.comeToRest()
            try expect(many.arrivals.count == 1, "\(many.arrivals.count) arrive")
        }
    }

    @Test("what the broker says of itself costs no more than its interval, and all its figures add up")
    func systemTopics() {
        scene {
            $0.systemTopics.interval = 1_000
            $0.systemTopics.clientTopics = .aedes
            $0.systemTopics.brokerID = "id"
        } _: { world in
            let reader = world.add("reader")
            let visitor = world.add("visitor \"1\"")
            try world.comeToRest()
            world.subscribe(reader, to: "$SYS/#", .atMostOnce)
            try world.comeToRest()
            world.subscribe(visitor, to: "a/b", .atLeastOnce)
            try world.comeToRest()
            world.disconnect(visitor)
            try world.comeToRest(reconnecting: false)
            let told = reader.systemMessages
            try expect(told["$SYS/id/new/subscribes"]?.last == Self.subscribed, "\(told)")
            try expect(told["$SYS/id/disconnect/clients"] == ["visitor \"1\""], "\(told)")
            try expect(told["$SYS/id/heartbeat"] == nil, "a heartbeat before it is due")
            try world.pass(milliseconds: 10_000)
            try world.checkFigures()
            let sent = world.core.currentStatistics.publishSent
            try expect((60..<2_000).contains(sent), "\(sent) messages in ten seconds")
            try world.pass(milliseconds: 111_000)
            try expect(reader.systemMessages["$SYS/id/heartbeat"] == ["id", "id"], "no heartbeat each minute")
            let uptimes = reader.systemMessages["$SYS/broker/uptime"] ?? []
            try expect(uptimes.count >= 118 && Set(uptimes).count == uptimes.count, "\(uptimes.count) uptimes")
        }
    }

    private static let subscribed = #"{"clientId":"visitor \"1\"","subs":[{"topic":"a/b","qos":1}]}"#
}

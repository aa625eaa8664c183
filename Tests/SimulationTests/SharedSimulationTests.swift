import MQTTCore
import MQTTPackets
import Testing

@Suite("Simulation of shared subscriptions")
struct SharedSimulationTests {
    @Test("with no member leaving, each message of a shared subscription goes to exactly one member")
    func exactlyOne() {
        scene { world in
            let publisher = world.add("publisher", expiry: .max)
            let members = (0..<4).map { world.add("member\($0)", expiry: .max) }
            try world.comeToRest()
            for member in members { world.subscribe(member, to: "$share/g/s/#", .exactlyOnce) }
            try world.comeToRest()
            for number in 0..<300 {
                world.publish("s/\(number % 5)", number % 2 == 0 ? .atLeastOnce : .exactlyOnce, by: publisher)
                try world.move(times: world.random.below(20))
            }
            try world.comeToRest()
            try world.checkNothingIsLeftOver()
            for number in world.messages.indices {
                let count = members.reduce(0) { $0 + $1.deliveries[number, default: 0] }
                try expect(count == 1, "message \(number) is delivered \(count) times")
            }
            for member in members {
                try expect(member.deliveries.count > 30, "\(member.name) gets \(member.deliveries.count) of 300")
            }
        }
    }

    @Test("while members come, go and are lost, each QoS 1 message of a shared subscription reaches at least one")
    func atLeastOne() {
        simulate(Seeds.all.prefix(100)) { seed, isLogging in
            var configuration = CoreConfiguration()
            configuration.isDurable = seed % 2 == 0
            configuration.loops = 1 + Int(seed % 3)
            configuration.limits.inFlightMax = 4
            return World(configuration, seed: seed, isLogging: isLogging)
        } _: { world in
            let publisher = world.add("publisher", expiry: .max)
            // One stays a member, though not always connected; the others do not even keep their sessions.
            let members = (0..<4).map { world.add("member\($0)", expiry: $0 < 2 ? .max : 0) { $0.isWild = true } }
            try world.comeToRest()
            for member in members { world.subscribe(member, to: "$share/g/s/#", .atLeastOnce) }
            try world.comeToRest()
            for number in 0..<150 {
                world.publish("s/\(number % 5)", .atLeastOnce, by: publisher)
                try Self.change(members, world)
                try world.move(times: world.random.below(20))
            }
            try world.comeToRest()
            try world.checkNothingIsLeftOver()
            for number in world.messages.indices {
                let count = members.reduce(0) { $0 + $1.deliveries[number, default: 0] }
                try expect(count >= 1, "message \(number) is delivered to nobody")
            }
            try expect(
                world.core.currentStatistics.dropped[.noMember] == 0,
                "messages are dropped for want of a member"
            )
            try world.endEverything()
        }
    }

    private static func change(_ members: [SimulatedClient], _ world: World) throws {
        let member = world.random.pick(members)
        guard member.link != nil else { return try world.connect(member) }
        guard member.isUp else { return }
        switch world.random.below(8) {
        case 0: world.cut(member)
        case 1: world.disconnect(member)
        case 2 where member.index != members[0].index:
            _ = member.session.unsubscribe(["$share/g/s/#"])
            world.flush(member)
        case 3...5: world.subscribe(member, to: "$share/g/s/#", .atLeastOnce)
        default: break
        }
    }
}

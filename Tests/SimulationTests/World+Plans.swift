import MQTTCore
import MQTTPackets
import NIOCore

extension World {
    /// Limits so small that a few messages reach them.
    static func configuration(_ random: inout SeededGenerator) -> CoreConfiguration {
        var configuration = CoreConfiguration()
        configuration.loops = 1 + random.below(3)
        configuration.seed = 7
        configuration.isDurable = random.oneIn(2)
        configuration.connectTimeout = 60_000
        configuration.limits.receiveMaximum = random.pick([1, 3, 10, 100])
        configuration.limits.inFlightMax = random.pick([1, 4, 20, 100])
        configuration.limits.topicAliasMaximum = random.pick([0, 2, 32])
        configuration.limits.sendBufferBytesPaced = random.pick([200, 4_000, 256 << 10])
        configuration.limits.sendBufferBytesUnread = random.pick([400, 8_000, 1 << 20])
        configuration.limits.deliveriesPerTurn = random.pick([1, 5, 50, 2_000])
        configuration.limits.inFlightBytesMax = random.pick([1, 600, 64 << 20])
        configuration.limits.uncommittedBytesMax = random.pick([1, 300, 4 << 20])
        configuration.limits.uncommittedBytesInAllMax = random.pick([500, 256 << 20])
        configuration.limits.windowBytesInAllMax = random.pick([1, 3_000, 20_000, 64 << 20])
        return configuration
    }

    /// Some who keep still and are checked to the letter, some who publish, and some who do everything.
    func addClients() {
        for at in 0..<(1 + random.below(3)) { _ = add(stablePlan("stable\(at)")) }
        for at in 0..<(1 + random.below(2)) {
            var plan = wildPlan("publisher\(at)")
            plan.isWild = false
            plan.publishes = true
            _ = add(plan)
        }
        for at in 0..<(1 + random.below(3)) { _ = add(wildPlan("wild\(at)")) }
    }

    private func stablePlan(_ name: String) -> ClientPlan {
        var connect = connect(name)
        connect.cleanStart = false
        if connect.version == .v5 { connect.properties[integer: .sessionExpiryInterval] = random.pick([3_600, .max]) }
        var plan = ClientPlan(connect: connect)
        plan.isStable = true
        plan.keepsSession = true
        plan.isSlow = random.oneIn(3)
        plan.publishes = random.oneIn(2)
        var filters: Set<String> = []
        for identifier in 0..<(1 + random.below(3)) {
            let isNumbered = connect.version == .v5 && random.oneIn(2)
            let wanted = randomSubscriptions(count: 1, connect.version, isNumbered ? UInt32(identifier + 1) : 0)
            plan.subscriptions += wanted.filter { filters.insert($0.filter).inserted }
        }
        return plan
    }

    private func wildPlan(_ name: String) -> ClientPlan {
        var connect = connect(name)
        connect.cleanStart = random.oneIn(2)
        var plan = ClientPlan(connect: connect)
        if connect.version == .v5 {
            let expiry: UInt32 = random.pick([0, 1, 2, 3_600, .max])
            connect.properties[integer: .sessionExpiryInterval] = expiry
            if random.oneIn(3) { connect.properties[integer: .maximumPacketSize] = random.pick([60, 200, 2_000]) }
            plan.keepsSession = !connect.cleanStart && expiry >= 3_600
        } else {
            plan.keepsSession = !connect.cleanStart
        }
        plan.connect = connect
        plan.isWild = true
        plan.isSlow = random.oneIn(4)
        plan.publishes = random.oneIn(2)
        return plan
    }

    private func connect(_ name: String) -> Connect {
        let version = random.pick([ProtocolVersion.v5, .v5, .v5, .v3_1_1, .v3_1_1, .v3_1])
        var connect = Connect(version: version, clientID: name, keepAlive: random.pick([0, 0, 2, 60]))
        if version == .v5 {
            if random.oneIn(2) { connect.properties[integer: .receiveMaximum] = UInt32(1 + random.below(5)) }
            if random.oneIn(2) { connect.properties[integer: .topicAliasMaximum] = UInt32(1 + random.below(5)) }
        }
        guard random.oneIn(3) else { return connect }
        connect.will = Will(
            topic: "w/\(name)",
            payload: ByteBuffer(string: "will of \(name)"),
            qos: random.pick(QoS.allCases)
        )
        if version == .v5 && random.oneIn(2) { connect.will?.properties[integer: .willDelayInterval] = 1 }
        return connect
    }
}

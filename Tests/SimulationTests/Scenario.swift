import MQTTCore
import MQTTPackets
import NIOCore
import Testing

/// Runs a simulation under each seed. One that fails runs once more, with a log of what happens, and is reported with
/// its seed and the end of the log.
func simulate(
    _ seeds: some Sequence<UInt64> = Seeds.all.prefix(8),
    _ makeWorld: (_ seed: UInt64, _ isLogging: Bool) -> World,
    _ body: (World) throws -> Void
) {
    for seed in seeds {
        if Seeds.areTraced { print("simulation seed \(seed)") }
        do {
            try body(makeWorld(seed, false))
        } catch {
            let world = makeWorld(seed, true)
            try? body(world)
            let log = (world.log ?? []).suffix(Seeds.logLength).joined(separator: "\n  ")
            Issue.record("seed \(seed), again with APUS_SIMULATION_SEED=\(seed): \(error)\n  \(log)")
        }
    }
}

/// The same for a scene that says itself who is in it. Every other seed has a durable store, and one to three loops.
func scene(_ configure: (inout CoreConfiguration) -> Void = { _ in }, _ body: (World) throws -> Void) {
    simulate { seed, isLogging in
        var configuration = CoreConfiguration()
        configuration.isDurable = seed % 2 == 0
        configuration.loops = 1 + Int(seed % 3)
        configure(&configuration)
        return World(configuration, seed: seed, isLogging: isLogging)
    } _: {
        try body($0)
    }
}

extension World {
    /// A client of MQTT 5.0; it keeps its session where that has an expiry interval.
    func add(
        _ name: String,
        expiry: UInt32 = 0,
        keepAlive: UInt16 = 0,
        _ change: (inout ClientPlan) -> Void = { _ in }
    ) -> SimulatedClient {
        var connect = Connect(version: .v5, clientID: name, cleanStart: expiry == 0, keepAlive: keepAlive)
        if expiry > 0 { connect.properties[integer: .sessionExpiryInterval] = expiry }
        var plan = ClientPlan(connect: connect)
        plan.keepsSession = expiry > 0
        change(&plan)
        return add(plan)
    }

    func subscribe(_ client: SimulatedClient, to filter: String, _ qos: QoS) {
        subscribe(client, [SimulatedSubscription(filter, SubscriptionOptions(qos: qos))])
    }

    func publish(_ topic: String, _ qos: QoS, isRetained: Bool = false, bytes: Int = 1, by client: SimulatedClient) {
        let payload = ByteBuffer(repeating: UInt8(ascii: "."), count: bytes)
        publish(Publish(topic: topic, payload: payload, qos: qos, isRetained: isRetained), by: client)
    }

    func cut(_ client: SimulatedClient) {
        client.link?.cut(keeping: &random)
    }

    func disconnect(_ client: SimulatedClient) {
        client.session.disconnect()
        flush(client)
        leave(client)
    }

    func move(times: Int) throws {
        for _ in 0..<times { try move() }
    }
}

import MQTTCore
import MQTTPackets
import Testing

@Suite("Simulation of the whole core")
struct CoreSimulationTests {
    @Test(
        "whatever links, clients and the store do: QoS 1 at least once, QoS 2 exactly once, in order, nothing left over",
        arguments: 0..<Seeds.chunks)
    func everything(chunk: Int) throws {
        let seeds = Seeds.chunk(chunk)
        for seed in seeds {
            if Seeds.areTraced { print("simulation seed \(seed)") }
            do {
                try Self.run(World(seed))
            } catch {
                // Once more, and this time with a log of what happens.
                let world = World(seed, isLogging: true)
                try? Self.run(world)
                let log = (world.log ?? []).suffix(80).joined(separator: "\n  ")
                Issue.record("seed \(seed), again with APUS_SIMULATION_SEED=\(seed): \(error)\n  \(log)")
            }
        }
        if let first = seeds.first { print("simulated \(seeds.count) seeds from \(first), every \(Seeds.chunks)th") }
    }

    private static func run(_ world: World) throws {
        try world.comeToRest()
        for client in world.clients where client.plan.publishes {
            for _ in 0..<3 { world.publishSomething(client) }
        }
        try world.comeToRest()
        for client in world.clients where client.plan.isStable {
            for wanted in client.plan.subscriptions { world.subscribe(client, [wanted]) }
        }
        try world.comeToRest()
        try world.checkFirstReplay()
        world.isEarly = false
        for _ in 0..<(200 + world.random.below(1_600)) { try world.step() }
        try world.comeToRest()
        try world.checkNothingIsLeftOver()
        try world.checkDeliveries()
        try world.checkRetained()
        try world.endEverything()
    }
}

extension World {
    convenience init(_ seed: UInt64, isLogging: Bool = false) {
        var random = SeededGenerator(seed: seed)
        self.init(Self.configuration(&random), seed: random.next(), isLogging: isLogging)
        addClients()
    }
}

import MQTTCore
import MQTTPackets
import Testing

@Suite("Simulation of the whole core")
struct CoreSimulationTests {
    @Test(
        "whatever links, clients and the store do: QoS 1 at least once, QoS 2 exactly once, order, nothing left over",
        arguments: 0..<Seeds.chunks
    )
    func everything(chunk: Int) {
        let seeds = Seeds.chunk(chunk)
        simulate(seeds, World.init(_:isLogging:), Self.run)
        if let first = seeds.first { print("simulated \(seeds.count) seeds from \(first), every \(Seeds.chunks)th") }
    }

    private static func run(_ world: World) throws {
        try world.settle()
        for step in 0..<(300 + world.random.below(4_000)) {
            try world.step()
            if step % 50 == 0 { try world.checkFigures() }
        }
        try world.checkAndEnd()
    }
}

extension World {
    convenience init(_ seed: UInt64, isLogging: Bool) {
        var random = SeededGenerator(seed: seed)
        self.init(Self.configuration(&random), seed: random.next(), isLogging: isLogging)
        addClients()
    }

    /// Something is retained, and who is to be checked to the letter has subscribed.
    func settle() throws {
        try comeToRest()
        for client in clients where client.plan.publishes {
            for _ in 0..<3 { publishSomething(client) }
        }
        try comeToRest()
        for client in clients where client.plan.isStable {
            for wanted in client.plan.subscriptions { subscribe(client, [wanted]) }
        }
        try comeToRest()
        try checkFirstReplay()
        isEarly = false
    }

    /// What has to hold in the end, and then nothing is left.
    func checkAndEnd() throws {
        try comeToRest()
        try checkNothingIsLeftOver()
        try checkDeliveries()
        try checkRoutes()
        try checkRetained()
        try endEverything()
    }
}

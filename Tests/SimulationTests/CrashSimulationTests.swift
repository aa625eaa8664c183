import MQTTCore
import MQTTPackets
import Testing

@Suite("Simulation of the whole core with crashes")
struct CrashSimulationTests {
    @Test(
        "whenever the process ends: what was acknowledged is there, QoS 2 exactly once, order kept, sessions and retained as promised",
        arguments: 0..<Seeds.chunks
    )
    func everything(chunk: Int) { simulate(Seeds.chunk(chunk), Self.makeWorld, Self.run) }

    @Test(
        "the same over a journal on a disk that tears, reorders and loses what was not synced, fails and runs full",
        arguments: 0..<Seeds.chunks
    )
    func everythingOverJournal(chunk: Int) {
        simulate(Seeds.chunk(chunk)) { seed, isLogging in
            let world = Self.makeWorld(seed, isLogging: isLogging)
            world.journal = SimulatedJournal(seed: seed)
            return world
        } _: { world in
            _ = try world.journal?.open()
            try Self.run(world)
        }
    }

    /// But that of the answer to a repeated PUBLISH, which follows a CONNACK that has waited for the first one.
    @Test(
        "without any one of the waits the simulation fails",
        arguments: [
            Waits.puback, .pubrec, .pubcomp, .publishExactlyOnce, .pubrel, .suback, .unsuback, .connack,
            .sendMark,
        ]
    )
    func missingWait(_ wait: Waits) {
        let isSeen = (UInt64(1)...2_000).contains { seed in
            do {
                try Self.run(Self.makeWorld(seed, isLogging: false, skipping: wait))
                return false
            } catch {
                return true
            }
        }
        #expect(isSeen)
    }

    private static func makeWorld(_ seed: UInt64, isLogging: Bool) -> World {
        makeWorld(seed, isLogging: isLogging, skipping: [])
    }

    private static func makeWorld(_ seed: UInt64, isLogging: Bool, skipping: Waits) -> World {
        var random = SeededGenerator(seed: seed ^ 0xC4A5)
        var configuration = World.configuration(&random)
        configuration.isDurable = true
        configuration.skippedWaits = skipping
        let world = World(configuration, seed: random.next(), isLogging: isLogging)
        world.takesLate = !world.isStrict
        world.addClients()
        return world
    }

    private static func run(_ world: World) throws {
        try world.settle()
        world.journal?.plan()
        let oneIn = world.random.pick([50, 200, 800])
        for step in 0..<(300 + world.random.below(3_000)) {
            try world.step()
            if world.random.oneIn(oneIn) { try world.crash() }
            if step % 50 == 0 { try world.checkFigures() }
        }
        world.journal?.calmDown()
        try world.checkAndEnd()
    }
}

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
            Self.makeWorld(seed, SimulatedJournal(seed: seed), isLogging: isLogging)
        } _: {
            try Self.run($0)
        }
    }

    @Test("over a journal that does not sync the simulation fails")
    func missingSync() {
        let isSeen = (UInt64(1)...200).contains { seed in
            Self.fails { Self.makeWorld(seed, SimulatedJournal(seed: seed, syncs: false)) }
        }
        #expect(isSeen)
    }

    /// But that of the answer to a repeated PUBLISH, which follows a CONNACK that has waited for the first one.
    @Test(
        "without any one of the waits the simulation fails",
        arguments: [
            Waits.puback, .pubrec, .pubcomp, .publishExactlyOnce, .pubrel, .suback, .unsuback, .connack,
            .sendMark, .close,
        ]
    )
    func missingWait(_ wait: Waits) {
        let isSeen = (UInt64(1)...2_000).contains { seed in Self.fails { Self.makeWorld(seed, skipping: wait) } }
        #expect(isSeen)
    }

    private static func fails(_ makeWorld: () -> World) -> Bool {
        do {
            try run(makeWorld())
            return false
        } catch {
            return true
        }
    }

    private static func makeWorld(_ seed: UInt64, isLogging: Bool) -> World {
        makeWorld(seed, nil, isLogging: isLogging)
    }

    private static func makeWorld(
        _ seed: UInt64,
        _ journal: SimulatedJournal? = nil,
        isLogging: Bool = false,
        skipping: Waits = []
    ) -> World {
        var random = SeededGenerator(seed: seed ^ 0xC4A5)
        var configuration = World.configuration(&random)
        configuration.isDurable = true
        configuration.skippedWaits = skipping
        let world = World(configuration, seed: random.next(), isLogging: isLogging)
        world.takesLate = !world.isStrict
        world.journal = journal
        world.addClients()
        return world
    }

    private static func run(_ world: World) throws {
        _ = try world.journal?.open()
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

import MQTTCore
import MQTTPackets
import NIOCore
import Testing

@Suite("Simulation of time")
struct TimeSimulationTests {
    /// A client with a will, and one who is to get it.
    private static func connect(
        _ world: World,
        delay: UInt32,
        expiry: UInt32
    ) throws -> (SimulatedClient, SimulatedClient) {
        let mortal = world.add("mortal", expiry: expiry) {
            $0.connect.will = Will(topic: "w", payload: ByteBuffer(string: "will of mortal"), qos: .exactlyOnce)
            $0.connect.will?.properties[integer: .willDelayInterval] = delay
        }
        let heir = world.add("heir", expiry: .max)
        try world.comeToRest()
        world.subscribe(heir, to: "w", .exactlyOnce)
        try world.comeToRest()
        return (mortal, heir)
    }

    /// The same, and the connection is lost.
    private static func will(_ world: World, delay: UInt32, expiry: UInt32) throws -> (SimulatedClient, SimulatedClient)
    {
        let (mortal, heir) = try connect(world, delay: delay, expiry: expiry)
        world.cut(mortal)
        try world.comeToRest(reconnecting: false)
        return (mortal, heir)
    }

    @Test("a will goes out once, when its delay is over and not before [MQTT-3.1.3-9]")
    func willDelay() {
        scene { world in
            let (mortal, heir) = try Self.will(world, delay: 5, expiry: 60)
            try world.pass(milliseconds: 4_900)
            try expect(heir.willsReceived.isEmpty, "the will comes too early")
            try world.pass(milliseconds: 200)
            try expect(heir.willsReceived == [mortal.index: 1], "the will does not come")
            try world.pass(milliseconds: 100_000)
            try expect(heir.willsReceived == [mortal.index: 1], "the will comes again")
            try expect(world.core.inspectSession("mortal") == nil, "the session outlives its expiry interval")
        }
    }

    @Test("a client that is back before its will's delay is over has no will published [MQTT-3.1.3-9]")
    func willCalledOff() {
        scene { world in
            let (mortal, heir) = try Self.will(world, delay: 5, expiry: 60)
            try world.pass(milliseconds: 4_500)
            try world.connect(mortal)
            try world.pass(milliseconds: 20_000)
            try expect(heir.willsReceived.isEmpty, "the will comes although the client is back")
            world.disconnect(mortal)
            try world.pass(milliseconds: 20_000)
            try expect(heir.willsReceived.isEmpty, "the will comes after an orderly end [MQTT-3.14.4-3]")
        }
    }

    @Test("a will goes out at the end of its session where that comes before its delay is over [MQTT-3.1.2-8]")
    func willAtEndOfSession() {
        scene { world in
            let (mortal, heir) = try Self.will(world, delay: 50, expiry: 2)
            try world.pass(milliseconds: 1_900)
            try expect(heir.willsReceived.isEmpty, "the will comes too early")
            try world.pass(milliseconds: 200)
            try expect(heir.willsReceived == [mortal.index: 1], "the will does not come")
        }
    }

    @Test(
        "who was connected when the broker crashed has lost the connection at the restart: then its will's delay begins"
    )
    func willAfterCrash() {
        scene {
            $0.isDurable = true
        } _: { world in
            let (mortal, heir) = try Self.connect(world, delay: 5, expiry: 60)
            try world.crash()
            try world.connect(heir)
            try world.pass(milliseconds: 4_900)
            try expect(heir.willsReceived.isEmpty, "the will comes too early")
            try world.pass(milliseconds: 200)
            try expect(heir.willsReceived == [mortal.index: 1], "the will does not come")
            try world.crash()
            try world.connect(heir)
            try world.pass(milliseconds: 100_000)
            try expect(heir.willsReceived == [mortal.index: 1], "the will comes again")
        }
    }

    @Test(
        "who was connected when the broker crashed and is back at once has its will published where that has no delay"
    )
    func dueWillAfterCrash() {
        scene {
            $0.isDurable = true
        } _: { world in
            let (mortal, heir) = try Self.connect(world, delay: 0, expiry: 60)
            try world.crash()
            try world.connect(mortal)
            try world.comeToRest()
            try world.pass(milliseconds: 100_000)
            try expect(heir.willsReceived == [mortal.index: 1], "the will comes not once: \(heir.willsReceived)")
        }
    }

    @Test(
        "who has seen the close after its DISCONNECT has no will published, though the broker crashes [MQTT-3.14.4-3]"
    )
    func noWillAfterCrash() {
        scene {
            $0.isDurable = true
        } _: { world in
            let (mortal, heir) = try Self.connect(world, delay: 0, expiry: 60)
            mortal.session.disconnect()
            world.flush(mortal)
            for _ in 0..<10_000 where mortal.link?.isClosing == false { try world.move() }
            try expect(mortal.link?.isClosing == true, "the broker does not close the connection")
            try world.crash()
            try world.connect(heir)
            try world.pass(milliseconds: 100_000)
            try expect(heir.willsReceived.isEmpty, "the will comes although the client has left in order")
        }
    }

    @Test("a silent client is ended after one and a half keep alives, one that pings is not [MQTT-3.1.2-22]")
    func keepAlive() {
        scene { world in
            _ = world.add("talker", keepAlive: 10)
            let silent = world.add("silent", keepAlive: 10) { $0.keepsAlive = false }
            try world.comeToRest()
            // Beyond the time for CONNECT, so that no deadline of the accept is left.
            for _ in 0..<4 {
                try world.pass(milliseconds: 10_000)
                world.ping(silent)
                try world.comeToRest(reconnecting: false)
            }
            try world.pass(milliseconds: 14_900)
            try expect(silent.isUp, "the client is ended too early")
            try world.pass(milliseconds: 600)
            try expect(world.core.inspectSession("silent") == nil, "the silent client is still there")
            try world.pass(milliseconds: 100_000)
            try expect(world.core.inspectSession("talker")?.isConnected == true, "the client that pings is ended")
        }
    }

    @Test("bytes that were there at the deadline of a keep alive are still read")
    func keepAliveGrace() {
        scene { world in
            let late = world.add("late", keepAlive: 10) { $0.keepsAlive = false }
            try world.comeToRest()
            for _ in 0..<20 {
                // Nothing is read for the whole time: the loop is late, not the client.
                let end = world.now + 15_000
                while world.now < end {
                    world.now += 50
                    try world.expire()
                }
                try world.expire()
                try expect(world.core.inspectSession("late") != nil, "the client is ended and its bytes were not read")
                world.ping(late)
                try world.comeToRest(reconnecting: false)
            }
            try expect(late.isUp, "the client is ended")
        }
    }

    @Test("a connection without CONNECT is ended in time, and one with CONNECT is not")
    func connectTimeout() {
        scene {
            $0.connectTimeout = 3_000
        } _: { world in
            let mute = world.add("mute")
            let speaker = world.add("speaker")
            try world.connect(speaker)
            try world.connect(mute)
            mute.link?.toBroker = ByteBuffer()
            try world.pass(milliseconds: 2_800)
            try expect(world.core.connectionCount == 2, "the connection is ended too early")
            try world.pass(milliseconds: 300)
            try expect(world.core.connectionCount == 1, "a connection without CONNECT is still there")
            try expect(speaker.isUp, "the other connection is ended")
        }
    }

    @Test("a session whose client comes and goes 1,000 times has one deadline, and ends at it")
    func sessionTimers() {
        scene { world in
            let visitor = world.add("visitor", expiry: 3_600)
            for _ in 0..<1_000 {
                try world.connect(visitor)
                try world.comeToRest(reconnecting: false)
                if world.random.oneIn(2) { world.cut(visitor) } else { world.disconnect(visitor) }
                try world.comeToRest(reconnecting: false)
                world.now += Int64(world.random.below(60_000))
                try world.expire()
                let timers = world.core.timerCount
                try expect(timers < 20, "\(timers) timers of one session")
            }
            world.now += 3_500_000
            try world.expire()
            try expect(world.core.sessionCount == 1, "the session ends too early")
            world.now += 200_000
            try world.expire()
            try expect(world.core.sessionCount == 0, "the session outlives its expiry interval")
        }
    }
}

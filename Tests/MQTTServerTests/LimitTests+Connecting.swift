import MQTTCore
import MQTTPackets
import MQTTServer
import NIOCore
import Testing

extension LimitTests {
    static let connecting = [
        LimitCase("connections", 6, connections),
        LimitCase("connects-pending", 2, connectsPending),
        LimitCase("connect-bytes", 64, connectBytes),
        LimitCase("client-id-bytes", 10, clientIDBytes),
        LimitCase("sessions", 2, sessions),
        LimitCase("will-bytes", 100, willBytes),
        LimitCase("will-bytes-in-all", 100, willBytesInAll),
        LimitCase("session-expiry", 1, sessionExpiry),
    ]

    private static func will(bytes: Int) -> Will {
        Will(topic: "w", payload: ByteBuffer(repeating: 0x77, count: bytes - 1))
    }

    private static func connections(_ trial: LimitTrial) async throws {
        let clients = [try await trial.connect(), try await trial.connect(), try await trial.connect()]
        // Fewer owe CONNECT than may, half of all.
        let oldest = try await trial.connect.transport()
        var pending = [try await trial.connect.transport()]
        let broker = trial.broker
        try await trial.bystander.wait(for: "six connections") { broker.statistics.connections == 6 }
        #expect(broker.statistics.socketsRefused == 0)
        pending.append(try await trial.connect.transport())
        #expect(try await oldest.nextOrEnd() == nil)
        #expect(broker.statistics.socketsRefused == 1)
        try await trial.bystander.isServed()
        for (at, client) in pending.enumerated() {
            try await client.sendConnect("\(at)")
            #expect(try await client.next().kind == .connack)
        }
        // Nobody owes CONNECT: no one has to go for those who come.
        for version in ProtocolVersion.allCases {
            let refused = try await trial.connect.transport()
            refused.version = version
            #expect(try await refused.nextOrEnd() == nil)
        }
        #expect(broker.statistics.socketsRefused == 1 + UInt64(ProtocolVersion.allCases.count))
        try await trial.bystander.isServed()
        for client in clients + pending { try await client.ping() }
        try await clients[0].close()
        try await trial.bystander.wait(for: "a place") { broker.statistics.connections == 5 }
        try await trial.connect().ping()
        for client in clients.dropFirst() + pending { try await client.ping() }
    }

    private static func connectsPending(_ trial: LimitTrial) async throws {
        let oldest = try await trial.connect.transport()
        let others = [try await trial.connect.transport(), try await trial.connect.transport()]
        #expect(try await oldest.nextOrEnd() == nil)
        try await trial.bystander.isServed()
        for (at, other) in others.enumerated() {
            try await other.sendConnect("\(at)")
            #expect(try await other.next().kind == .connack)
        }
        #expect(trial.broker.statistics.socketsRefused == 1)
    }

    private static func connectBytes(_ trial: LimitTrial) async throws {
        for version in ProtocolVersion.allCases {
            let bare = PacketEncoder(version: version).encode(.connect(Connect(version: version, clientID: "")))
            let longest = String(repeating: "c", count: 64 - bare.readableBytes)
            try await trial.accepted(Connect(version: version, clientID: longest)).client.ping()
            let reason = version == .v5 ? ReasonCode.packetTooLarge : nil
            try await trial.expectRefused(Connect(version: version, clientID: longest + "c"), reason)
            try await trial.bystander.isServed()
        }
    }

    private static func clientIDBytes(_ trial: LimitTrial) async throws {
        for version in ProtocolVersion.allCases {
            try await trial.accepted(Connect(version: version, clientID: "0123456789")).client.ping()
            // Return code 2 of the older versions stands for the same.
            let tooLong = Connect(version: version, clientID: "0123456789a")
            try await trial.expectRefused(tooLong, .clientIdentifierNotValid)
            try await trial.bystander.isServed()
        }
        // What counts is what a client sends, not what the broker calls it.
        let (nameless, connack) = try await trial.accepted(Connect(version: .v5, clientID: ""))
        #expect(connack.properties[string: .assignedClientIdentifier]?.utf8.count ?? 0 > 10)
        try await nameless.ping()
    }

    private static func sessions(_ trial: LimitTrial) async throws {
        let first = try await trial.connect("known", expiry: 600)
        try await trial.expectRefused(Connect(version: .v5, clientID: "new"), .quotaExceeded)
        try await trial.expectRefused(Connect(version: .v3_1_1, clientID: "new"), .serverUnavailable)
        try await trial.bystander.isServed()
        try await first.leave()
        try await trial.expectRefused(Connect(version: .v5, clientID: "new"), .quotaExceeded)
        // One that has a session, and one that begins its own anew, need no other.
        let resumed = Connect(version: .v5, clientID: "known", cleanStart: false)
        #expect(try await trial.accepted(resumed).connack.sessionPresent)
        let (anew, connack) = try await trial.accepted(Connect(version: .v3_1_1, clientID: "known"))
        #expect(!connack.sessionPresent)
        try await anew.leave()
        try await trial.accepted(Connect(version: .v5, clientID: "new")).client.ping()
    }

    private static func willBytes(_ trial: LimitTrial) async throws {
        for version in [ProtocolVersion.v3_1_1, .v5] {
            let reason = version == .v5 ? ReasonCode.quotaExceeded : .serverUnavailable
            let fitting = Connect(version: version, clientID: "c", will: will(bytes: 100))
            try await trial.accepted(fitting).client.ping()
            try await trial.expectRefused(Connect(version: version, clientID: "d", will: will(bytes: 101)), reason)
            try await trial.bystander.isServed()
        }
    }

    private static func willBytesInAll(_ trial: LimitTrial) async throws {
        let first = try await trial.connect("first", will: will(bytes: 60))
        let second = Connect(version: .v5, clientID: "second", will: will(bytes: 60))
        let older = Connect(version: .v3_1_1, clientID: "second", will: will(bytes: 60))
        try await trial.expectRefused(second, .quotaExceeded)
        try await trial.expectRefused(older, .serverUnavailable)
        try await trial.bystander.isServed()
        #expect(trial.broker.statistics.willBytes == 60)
        // One without a will is not concerned, nor one that leaves more room than it takes.
        try await trial.connect("third").ping()
        let again = try await trial.connect("first", will: will(bytes: 60))
        #expect(try await first.disconnectReason() == .sessionTakenOver)
        try await again.leave()
        try await trial.accepted(second).client.ping()
    }

    private static func sessionExpiry(_ trial: LimitTrial) async throws {
        var long = Connect(version: .v5, clientID: "long", cleanStart: false)
        long.properties[integer: .sessionExpiryInterval] = 600
        var short = Connect(version: .v5, clientID: "short", cleanStart: false)
        short.properties[integer: .sessionExpiryInterval] = 1
        let old = Connect(version: .v3_1_1, clientID: "old", cleanStart: false)
        for (connect, told) in [(long, UInt32(1)), (short, nil), (old, nil)] {
            let (client, connack) = try await trial.accepted(connect)
            #expect(!connack.sessionPresent)
            #expect(connack.properties[integer: .sessionExpiryInterval] == told)
            try await client.leave()
        }
        // Not even DISCONNECT can ask for more.
        let (client, again) = try await trial.accepted(short)
        // In real time its session may have ended before.
        let ending = again.sessionPresent ? 3 : 4
        var disconnect = Disconnect()
        disconnect.properties[integer: .sessionExpiryInterval] = 600
        try await client.send(.disconnect(disconnect))
        #expect(try await client.nextOrEnd() == nil)
        try await trial.bystander.isServed()
        let broker = trial.broker
        let now = broker.statistics
        #expect(now.sessions + Int(now.sessionsExpired) == 1 + ending)
        try await trial.bystander.wait(for: "the end of the sessions") { broker.statistics.sessionsExpired == ending }
        for connect in [long, short, old] {
            #expect(try await !trial.accepted(connect).connack.sessionPresent)
        }
    }
}

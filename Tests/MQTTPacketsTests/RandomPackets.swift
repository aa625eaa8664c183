import MQTTPackets
import NIOCore

/// Packets that are valid, at random.
struct RandomPackets {
    var generator: SeededGenerator

    mutating func packet(_ version: ProtocolVersion) -> Packet {
        let kinds = PacketKind.allCases.filter { $0 != .auth || version == .v5 }
        switch pick(kinds) {
        case .connect: return .connect(connect(version))
        case .connack: return .connack(connack(version))
        case .publish: return .publish(publish(version))
        case .puback: return .puback(acknowledgement(version, .puback, .puback))
        case .pubrec: return .pubrec(acknowledgement(version, .pubrec, .pubrec))
        case .pubrel: return .pubrel(acknowledgement(version, .pubrel, .pubrel))
        case .pubcomp: return .pubcomp(acknowledgement(version, .pubcomp, .pubcomp))
        case .subscribe: return .subscribe(subscribe(version))
        case .suback: return .suback(suback(version))
        case .unsubscribe: return .unsubscribe(unsubscribe(version))
        case .unsuback: return .unsuback(unsuback(version))
        case .pingreq: return .pingreq
        case .pingresp: return .pingresp
        case .disconnect:
            guard version == .v5 else { return .disconnect(Disconnect()) }
            return .disconnect(Disconnect(reasonCode: code(.disconnect), properties: properties(.disconnect, version)))
        case .auth: return .auth(Auth(reasonCode: code(.auth), properties: properties(.auth, version)))
        }
    }

    mutating func publish(_ version: ProtocolVersion) -> Publish {
        let qos = pick(QoS.allCases)
        let properties = properties(.publish, version)
        let mayBeEmpty = properties[integer: .topicAlias] != nil
        return Publish(
            topic: mayBeEmpty && chance(2) ? "" : topic(),
            payload: data(chance(8) ? 20_000 : 40),
            qos: qos,
            isRetained: chance(2),
            isDuplicate: qos != .atMostOnce && chance(2),
            packetID: qos == .atMostOnce ? nil : packetID(),
            properties: properties
        )
    }

    private mutating func connect(_ version: ProtocolVersion) -> Connect {
        let userName = chance(2) ? text() : nil
        return Connect(
            version: version,
            clientID: text(),
            cleanStart: chance(2),
            keepAlive: UInt16(integer(65_535)),
            will: chance(2)
                ? Will(
                    topic: topic(),
                    payload: data(40),
                    qos: pick(QoS.allCases),
                    isRetained: chance(2),
                    properties: properties(.will, version)
                ) : nil,
            userName: userName,
            password: (userName != nil || version == .v5) && chance(2) ? data(20) : nil,
            properties: properties(.connect, version)
        )
    }

    private mutating func connack(_ version: ProtocolVersion) -> Connack {
        Connack(
            sessionPresent: version > .v3_1 && chance(2),
            reasonCode: version == .v5
                ? code(.connack) : ReasonCode(connackReturnCode: UInt8(integer(5))) ?? .success,
            properties: properties(.connack, version)
        )
    }

    private mutating func acknowledgement(
        _ version: ProtocolVersion,
        _ kind: PacketKind,
        _ place: PropertyPlace
    ) -> Acknowledgement {
        Acknowledgement(
            packetID: packetID(),
            reasonCode: version == .v5 ? code(kind) : .success,
            properties: properties(place, version)
        )
    }

    private mutating func subscribe(_ version: ProtocolVersion) -> Subscribe {
        let filters = (0...integer(4)).map { _ in
            Subscribe.Filter(
                text(),
                SubscriptionOptions(
                    qos: pick(QoS.allCases),
                    noLocal: version == .v5 && chance(2),
                    retainAsPublished: version == .v5 && chance(2),
                    retainHandling: version == .v5 ? pick([.always, .ifNew, .never]) : .always
                )
            )
        }
        return Subscribe(packetID: packetID(), filters: filters, properties: properties(.subscribe, version))
    }

    private mutating func suback(_ version: ProtocolVersion) -> Suback {
        let codes = (0...integer(4)).map { _ in
            version == .v5 ? code(.suback) : pick([.success, .grantedQoS1, .grantedQoS2, .unspecifiedError])
        }
        return Suback(packetID: packetID(), reasonCodes: codes, properties: properties(.suback, version))
    }

    private mutating func unsubscribe(_ version: ProtocolVersion) -> Unsubscribe {
        Unsubscribe(
            packetID: packetID(),
            filters: (0...integer(4)).map { _ in text() },
            properties: properties(.unsubscribe, version)
        )
    }

    private mutating func unsuback(_ version: ProtocolVersion) -> Unsuback {
        guard version == .v5 else { return Unsuback(packetID: packetID()) }
        return Unsuback(
            packetID: packetID(),
            reasonCodes: (0...integer(4)).map { _ in code(.unsuback) },
            properties: properties(.unsuback, version)
        )
    }

    /// Some of the properties that may stand at the place, in any order.
    private mutating func properties(_ place: PropertyPlace, _ version: ProtocolVersion) -> Properties {
        guard version == .v5, place == .auth || chance(2) else { return Properties() }
        var elements: [Property] = []
        for identifier in PropertyIdentifier.allCases.shuffled(using: &generator) {
            let isNeeded = place == .auth && identifier == .authenticationMethod
            guard identifier.isAllowed(in: place), isNeeded || chance(2) else { continue }
            for _ in 0...(identifier.mayRepeat(in: place) ? integer(3) : 0) {
                elements.append(Property(identifier, value(identifier)))
            }
        }
        if place == .connect && !elements.contains(where: { $0.identifier == .authenticationMethod }) {
            elements.removeAll { $0.identifier == .authenticationData }
        }
        return Properties(elements.shuffled(using: &generator))
    }

    private mutating func value(_ identifier: PropertyIdentifier) -> Property.Value {
        switch identifier.form {
        case .byte: .integer(UInt32(integer(1)))
        case .twoBytes: .integer(UInt32(1 + integer(65_534)))
        case .fourBytes: .integer(UInt32(1 + integer(4_294_967_294)))
        case .variable: .integer(UInt32(1 + integer(pick([100, 20_000, 3_000_000, 268_435_454]))))
        case .string: .string(identifier == .responseTopic ? topic() : text())
        case .binary: .binary(data(40))
        case .pair: .pair(text(), text())
        }
    }

    private mutating func code(_ kind: PacketKind) -> ReasonCode {
        pick((UInt8.min...UInt8.max).map(ReasonCode.init(rawValue:)).filter { $0.isAllowed(in: kind) })
    }

    private mutating func packetID() -> UInt16 { UInt16(1 + integer(65_534)) }

    private mutating func topic() -> String {
        let levels = (0...integer(4)).map { _ in pick(["", "a", "bc", "\u{E9}", "$x", "\u{1F41D}", "e\u{301}"]) }
        let topic = levels.joined(separator: "/")
        return topic.isEmpty ? "/" : topic
    }

    private mutating func text() -> String {
        (0..<integer(chance(10) ? 300 : 6)).map { _ in pick(["a", "/", "+", "#", "\u{E9}", "\u{FEFF}", "\u{10FFFF}"]) }
            .joined()
    }

    private mutating func data(_ bytesMax: Int) -> ByteBuffer {
        ByteBuffer(bytes: (0..<integer(bytesMax)).map { _ in UInt8.random(in: .min ... .max, using: &generator) })
    }

    private mutating func chance(_ among: Int) -> Bool { integer(among - 1) == 0 }

    mutating func integer(_ max: Int) -> Int { Int.random(in: 0...max, using: &generator) }

    private mutating func pick<Element>(_ elements: [Element]) -> Element { elements[integer(elements.count - 1)] }
}

import MQTT
import MQTTPackets

/// Messages as JSON objects, one a line.
enum MessageJSON {
    /// The object of `--json`.
    static func object(_ message: MQTTMessage, _ time: WallTime, style: PayloadStyle) -> [UInt8] {
        var json = "{\"timestamp\":\"\(time.rfc3339)\",\"topic\":\(JSON.string(message.topic))"
        json += ",\"qos\":\(message.qos.rawValue),\"retain\":\(message.isRetained),\"duplicate\":\(message.isDuplicate)"
        if !message.properties.isEmpty {
            json += ",\"properties\":{"
            json += propertyMembers(message.properties).joined(separator: ",")
            let users = message.properties.userProperties
            if !users.isEmpty {
                if !json.hasSuffix("{") { json += "," }
                let pairs = users.map { "[\(JSON.string($0.name)),\(JSON.string($0.value))]" }
                json += "\"user-properties\":[\(pairs.joined(separator: ","))]"
            }
            json += "}"
        }
        let payload = message.payload.readableBytesView
        switch style.encoding {
        case .hex: json += ",\"payloadHex\":\"\(ascii(style.payload(message)))\"}"
        case .base64: json += ",\"payloadBase64\":\"\(ascii(style.payload(message)))\"}"
        case .raw:
            if let text = String(validating: payload, as: UTF8.self) {
                json += ",\"payload\":\(JSON.string(text))}"
            } else {
                json += ",\"payloadBase64\":\"\(ascii(Printable.base64(payload)))\"}"
            }
        }
        return shown(json, isIndented: style.isPretty)
    }

    enum Payload {
        case text
        /// JSON.
        case raw(String)
    }

    /// `%j`: the object that mosquitto_sub prints. A payload that is not UTF-8 is repaired.
    static func mosquitto(_ message: MQTTMessage, _ time: WallTime, payload: Payload, isIndented: Bool) -> [UInt8] {
        let timestamp = time.formatted("%Y-%m-%dT%H:%M:%S") + "." + padded(time.nanoseconds / 1_000, 6)
        var json = "{\"tst\":\"\(timestamp)\(time.formatted("%z"))\",\"topic\":\(JSON.string(message.topic))"
        json += ",\"qos\":\(message.qos.rawValue),\"retain\":\(message.isRetained ? 1 : 0)"
        json += ",\"payloadlen\":\(message.payload.readableBytes)"
        if let packetID = message.packetID { json += ",\"mid\":\(packetID)" }
        if !message.properties.isEmpty {
            let users = message.properties.userProperties.map { "\(JSON.string($0.name)):\(JSON.string($0.value))" }
            let members =
                propertyMembers(message.properties)
                + (users.isEmpty ? [] : ["\"user-properties\":{\(users.joined(separator: ","))}"])
            json += ",\"properties\":{\(members.joined(separator: ","))}"
        }
        switch payload {
        case .text: json += ",\"payload\":\(JSON.string(message.payloadString))}"
        case .raw(let text): json += ",\"payload\":\(text)}"
        }
        return shown(json, isIndented: isIndented)
    }

    /// `%J`: the same with a payload that is JSON itself.
    static func mosquittoRaw(
        _ message: MQTTMessage,
        _ time: WallTime,
        isIndented: Bool
    ) throws(InvalidPayload) -> [UInt8] {
        guard let payload = JSONText.rewritten(message.payload.readableBytesView, isIndented: false) else {
            throw InvalidPayload(explanation: "the payload of a message on \(message.topic) is not JSON")
        }
        return mosquitto(message, time, payload: .raw(ascii(payload)), isIndented: isIndented)
    }

    private static func propertyMembers(_ properties: Properties) -> [String] {
        properties.elements.compactMap { property in
            let name = "\"\(property.identifier.optionName)\":"
            switch property.value {
            case .integer(let number): return name + "\(number)"
            case .string(let text): return name + JSON.string(text)
            case .binary(let data): return name + JSON.string(String(buffer: data))
            case .pair: return nil
            }
        }
    }

    private static func shown(_ json: String, isIndented: Bool) -> [UInt8] {
        let json = StandardOutput.isTerminal ? withoutControls(json) : json
        let bytes = isIndented ? JSONText.rewritten(json.utf8, isIndented: true) : nil
        return bytes ?? Array(json.utf8)
    }

    /// Those that JSON lets stand, which a terminal may obey.
    private static func withoutControls(_ json: String) -> String {
        json.unicodeScalars.reduce(into: "") { text, scalar in
            if (0x7F...0x9F).contains(scalar.value) {
                text += "\\u" + String(0x10000 + scalar.value, radix: 16).dropFirst()
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
    }

    private static func ascii(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}

/// CONNACK (MQTT 5.0, section 3.2).
package struct Connack: Sendable, Hashable {
    package var sessionPresent: Bool
    /// Before 5.0 the return codes 0 to 5 of section 3.2.2.3 of 3.1.1, see `ReasonCode.connackReturnCode`.
    package var reasonCode: ReasonCode
    package var properties: Properties

    package init(sessionPresent: Bool, reasonCode: ReasonCode, properties: Properties = Properties()) {
        self.sessionPresent = sessionPresent
        self.reasonCode = reasonCode
        self.properties = properties
    }
}

extension ReasonCode {
    /// The CONNACK return code of 3.1 and 3.1.1 for this reason.
    package var connackReturnCode: UInt8 {
        switch self {
        case .success: 0
        case .unsupportedProtocolVersion: 1
        case .clientIdentifierNotValid: 2
        case .badUserNameOrPassword, .badAuthenticationMethod: 4
        case .notAuthorized, .banned: 5
        default: 3
        }
    }

    /// The reason that a CONNACK return code of 3.1 and 3.1.1 stands for, nil where the code is reserved.
    package init?(connackReturnCode: UInt8) {
        switch connackReturnCode {
        case 0: self = .success
        case 1: self = .unsupportedProtocolVersion
        case 2: self = .clientIdentifierNotValid
        case 3: self = .serverUnavailable
        case 4: self = .badUserNameOrPassword
        case 5: self = .notAuthorized
        default: return nil
        }
    }
}

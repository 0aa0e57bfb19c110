: Pump of three sodium for two potassium: reads nai and ko, writes ina and ik, no states. Kinetics: after Lauger 1991 (Electrogenic Ion Pumps); made up in size.

NEURON {
    SUFFIX z_pump_na_k
    USEION na READ nai WRITE ina
    USEION k READ ko WRITE ik
    RANGE imax
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
    (mM) = (milli/liter)
    (um) = (micron)
}

PARAMETER {
    imax = 0.001 (mA/cm2)
}

ASSIGNED {
    nai (mM)
    ko (mM)
    ina (mA/cm2)
    ik (mA/cm2)
    x (1)
}

BREAKPOINT {
    x = imax/(1 + (10/nai)^3)/(1 + (3.5/ko)^2)
    ina = 3*x
    ik = -2*x
}

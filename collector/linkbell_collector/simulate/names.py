"""Believable names and places. Regions are Kazakhstan's, with the coordinates of their towns; providers are made up."""

REGIONS = (
    ("Абай облысы", 50.41, 80.25),
    ("Акмолинская область", 53.28, 69.39),
    ("Aqtöbe oblysy", 50.28, 57.17),
    ("Алматы облысы", 43.87, 77.06),
    ("Атырауская область", 47.12, 51.88),
    ("Западно-Казахстанская область", 51.23, 51.37),
    ("Жамбыл облысы", 42.90, 71.37),
    ("Jetisu oblysy", 45.02, 78.37),
    ("Карагандинская область", 49.80, 73.10),
    ("Костанайская область", 53.21, 63.62),
    ("Қызылорда облысы", 44.85, 65.51),
    ("Маңғыстау облысы", 43.65, 51.17),
    ("Павлодарская область", 52.29, 76.97),
    ("Северо-Казахстанская область", 54.87, 69.15),
    ("Түркістан облысы", 43.30, 68.25),
    ("Ulytau oblysy", 47.79, 67.71),
    ("Восточно-Казахстанская область", 49.95, 82.61),
)
"""Name, latitude and longitude in degrees."""

_DISTRICTS = (
    *(
        "Ақсу",
        "Шу",
        "Мерке",
        "Талас",
        "Сарысу",
        "Жаңақорған",
        "Арал",
        "Қазалы",
        "Байғанин",
        "Темір",
        "Мұғалжар",
        "Ойыл",
    ),
    *("Есиль", "Жаркаин", "Целиноград", "Бурабай", "Сандыктау", "Аккайын", "Тайынша", "Мамлют", "Иртыш", "Успен"),
    *("Panfilov", "Kerbulaq", "Alakól", "Sarqan", "Eskeldi", "Kóksu", "Kegen", "Raiymbek", "Uiǵyr", "Enbekshiqazaq"),
    *(
        "Шет",
        "Нұра",
        "Бұқар жырау",
        "Ақтоғай",
        "Қарқаралы",
        "Жаңаарқа",
        "Ұлытау",
        "Бородулиха",
        "Жарма",
        "Аягөз",
        "Үржар",
    ),
)
_SUFFIXES = {"а": "ауданы", "r": "район", "l": "audany"}

VILLAGES = (
    *("Ақбұлақ", "Көктөбе", "Сарыбел", "Қызылжар", "Бірлік", "Жаңатұрмыс", "Ынтымақ", "Теректі", "Қарасу", "Майтөбе"),
    *("Степное", "Заречное", "Новодолинка", "Каменка", "Берёзовка", "Озёрное", "Петровка", "Луговое", "Раздольное"),
    *("Aqjar", "Kókózek", "Qaraǵash", "Saryózen", "Tastybulaq", "Jasyl", "Qosaǵash", "Bozaryq", "Shoqan", "Úshtóbe"),
)

PROVIDERS = ("Дала Телеком", "Sary-Arqa Net", "Көкжиек Байланыс", "Алатау Онлайн", "Tulpar Link", "Ертіс Желі")

_PEOPLE = (
    "Абай",
    "Ш. Уәлиханов",
    "Ы. Алтынсарин",
    "М. Әуезов",
    "Ә. Молдағұлова",
    "Қ. Сәтбаев",
    "Жамбыл",
    "А. Байтұрсынұлы",
)


def region(number: int) -> tuple[str, float, float]:
    """Return name, latitude and longitude of the region with this number, from 0."""
    name, latitude, longitude = REGIONS[number % len(REGIONS)]
    return (name if number < len(REGIONS) else f"{name} {number // len(REGIONS) + 1}"), latitude, longitude


def district(number: int) -> str:
    """Return the name of a district; no two numbers have the same."""
    name = _DISTRICTS[(number * 7) % len(_DISTRICTS)]
    suffix = _SUFFIXES["l" if name.isascii() or "ó" in name or "ǵ" in name else "а" if number % 2 else "r"]
    again = number // len(_DISTRICTS)
    return f"{name} {suffix}" if not again else f"{name} {suffix} {again + 1}"


def provider(number: int) -> str:
    """Return the name of a provider; no two numbers have the same."""
    again = number // len(PROVIDERS)
    name = PROVIDERS[number % len(PROVIDERS)]
    return name if not again else f"{name} {again + 1}"


def school(number: int, village: str, draw: int) -> str:
    """Return the name of a school, in Kazakh, Russian or Kazakh in Latin letters. ``draw`` is any whole number."""
    person = _PEOPLE[draw // 4 % len(_PEOPLE)]
    return (
        f"№ {number} орта мектебі, {village}",
        f"Средняя школа № {number}, {village}",
        f"{person} атындағы орта мектеп, {village}",
        f"№ {number} orta mektebi, {village}",
    )[draw % 4]

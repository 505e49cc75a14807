{# The traits that are declared in the variables `order_traits` and `traits`, checked, as a list of mappings: name, type,
   data_type, of, history; of those that are made of messages, what `trait_of_messages` gives too. A trait of a
   profile comes before those that are made of it. #}
{% macro traits(types=none, of='profile') %}
    {% set found = [] %}
    {% for variable in ['order_traits', 'traits'] %}
        {% set given = var(variable, none) or {} %}
        {% do revetl.check_trait_mapping(variable, given) %}
        {% for name in given %}
            {% set at = variable ~ '.' ~ name %}
            {% if name in found | map(attribute='name') %}
                {% do revetl.wrong_trait(at, 'is declared in order_traits too') %}
            {% endif %}
            {% do found.append(revetl.checked_trait(at, name, given[name])) %}
        {% endfor %}
    {% endfor %}
    {% set asked = [] %}
    {% for trait in found if trait.of == of and (types is none or trait.type in types) %}
        {% do asked.append(trait) %}
    {% endfor %}
    {{ return(asked) }}
{% endmacro %}

{# The traits of people or accounts that messages say, from the variable `profile_traits` or `account_traits`: a list of
   names, or of names with a data type, or a mapping of names to data types. As a list of mappings: name, data_type,
   and type, which is `last`. #}
{% macro declared_traits(variable) %}
    {% set given = var(variable, none) or [] %}
    {% if given is string or (given is not mapping and given is not iterable) %}
        {% do revetl.wrong_trait(variable, 'must be a list of names, such as [plan, {employees: bigint}]') %}
    {% endif %}
    {% set found = [] %}
    {% for entry in ([given] if given is mapping else given) %}
        {% for name, about in (entry if entry is mapping else {entry: 'varchar'}).items() %}
            {% set at = variable ~ '.' ~ name %}
            {% if name is not string or '.' in name %}
                {% do revetl.wrong_trait(at, 'is not the name of a column. Name it and its path, such as '
                    ~ '{city: {trait: address.city}}; quote names such as on and no') %}
            {% elif about is mapping and about.keys() | reject('in', ['trait', 'data_type']) | list %}
                {% do revetl.wrong_trait(at, 'has ' ~ about.keys() | join(', ') ~ '; its keys are trait and data_type') %}
            {% endif %}
            {% set about = about if about is mapping else {'data_type': about} %}
            {% set type = (about.data_type or 'varchar') | string | lower %}
            {% do revetl.check_data_type(at, type) %}
            {% set path = {'path': about.trait} if about.trait and about.trait != name else {} %}
            {% do found.append(dict({'name': name, 'data_type': type, 'type': 'last'}, **path)) %}
        {% endfor %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{% macro check_data_type(at, data_type) %}
    {% if not modules.re.fullmatch('varchar|bigint|boolean|date|timestamp|json|double|decimal\\( *[0-9]+ *, *[0-9]+ *\\)', data_type) %}
        {% do revetl.wrong_trait(at, "is '" ~ data_type
            ~ "'; it must be varchar, bigint, boolean, date, timestamp, double, json or decimal(18, 2)") %}
    {% endif %}
{% endmacro %}

{# Types by what makes them: an aggregate of messages, or the rest. #}
{% macro message_trait_types() %}
    {{ return(['count', 'sum', 'avg', 'min', 'max', 'percentile', 'most_frequent', 'first', 'last', 'unique_list',
        'unique_list_count', 'first_at', 'last_at', 'days_since', 'days_between', 'has_done', 'funnel']) }}
{% endmacro %}

{# The keys that a type has, beside those that all have. A number of things is 0, and cannot be something else. #}
{% macro trait_keys(type) %}
    {% set known = revetl.own_trait_keys(type) %}
    {{ return(known if type in ['count', 'unique_list_count', 'has_done', 'funnel'] else known + ['default']) }}
{% endmacro %}

{% macro own_trait_keys(type) %}
    {% set keys = {'expression': ['sql'], 'sql': ['model', 'column', 'key'], 'funnel': ['source', 'steps', 'within', 'window']} %}
    {% set of_messages = ['source', 'event', 'where', 'window'] %}
    {% set further = {'percentile': ['property', 'context', 'percentile'], 'most_frequent': ['property', 'context', 'minimum']} %}
    {% if type in keys %}
        {{ return(keys[type]) }}
    {% elif type in ['count', 'first_at', 'last_at', 'days_since', 'days_between', 'has_done'] %}
        {{ return(of_messages) }}
    {% endif %}
    {{ return(of_messages + further.get(type, ['property', 'context'])) }}
{% endmacro %}

{# The data type of a trait that declares none. #}
{% macro default_data_type(type) %}
    {% set types = {
        'count': 'bigint', 'unique_list_count': 'bigint', 'days_since': 'bigint', 'funnel': 'bigint',
        'has_done': 'boolean', 'first_at': 'timestamp', 'last_at': 'timestamp', 'days_between': 'decimal(18, 2)',
        'sum': 'decimal(18, 4)', 'avg': 'decimal(18, 4)', 'min': 'decimal(18, 4)', 'max': 'decimal(18, 4)',
        'percentile': 'decimal(18, 4)', 'unique_list': 'json',
    } %}
    {{ return(types.get(type, 'varchar')) }}
{% endmacro %}

{% macro checked_trait(at, name, given) %}
    {% if not modules.re.fullmatch('[a-z][a-z0-9_]*', name | string) %}
        {% do revetl.wrong_trait(at, 'is no name for a trait; use lower-case letters, digits and underscores') %}
    {% endif %}
    {% if name in revetl.taken_names() %}
        {% do revetl.wrong_trait(at, 'is the name of another column; take another one') %}
    {% elif name in revetl.words_of_sql() %}
        {% do revetl.wrong_trait(at, 'is a word of SQL; take another name, such as my_' ~ name) %}
    {% endif %}
    {% do revetl.check_trait_mapping(at, given) %}
    {% set types = revetl.message_trait_types() + ['expression', 'sql'] %}
    {% if given.get('type') not in types %}
        {% do revetl.wrong_trait(at ~ '.type', "is '" ~ given.get('type', '') ~ "'; a trait is one of " ~ types | join(', ')) %}
    {% endif %}
    {% set type = given.type %}
    {% do revetl.check_trait_mapping(
        at, given, ['type', 'data_type', 'of', 'history', 'description'] + revetl.trait_keys(type)) %}
    {% set of = given.get('of', 'profile') %}
    {% if of not in ['profile', 'account'] %}
        {% do revetl.wrong_trait(at ~ '.of', "is '" ~ of ~ "'; it must be profile or account") %}
    {% endif %}
    {% set data_type = given.get('data_type', revetl.default_data_type(type)) | string | lower %}
    {% do revetl.check_data_type(at ~ '.data_type', data_type) %}
    {% if data_type == 'date' and type not in ['min', 'max', 'first', 'last', 'most_frequent', 'first_at', 'last_at', 'expression', 'sql'] %}
        {% do revetl.wrong_trait(at ~ '.data_type', 'is date, and a ' ~ type ~ ' has none') %}
    {% endif %}
    {% set trait = {'name': name, 'type': type, 'data_type': data_type, 'of': of,
        'default': revetl.checked_default(at, type, given.get('default')), 'history': given.get('history', false), 'description': given.get('description', '')} %}
    {% if type == 'expression' %}
        {% do revetl.check_trait_text(at ~ '.sql', given.get('sql'), 'an SQL expression over the other traits') %}
        {% do trait.update({'sql': given.sql}) %}
    {% elif type == 'sql' %}
        {% do revetl.check_trait_text(at ~ '.model', given.get('model'), 'the name of a model with a row a profile') %}
        {% do trait.update({'model': given.model, 'column': given.get('column', name),
            'key': given.get('key', 'canonical_id' if of == 'profile' else 'account_id')}) %}
    {% else %}
        {% do trait.update(revetl.trait_of_messages(at, type, given)) %}
    {% endif %}
    {{ return(trait) }}
{% endmacro %}

{# The other columns of the tables that traits are columns of. #}
{% macro taken_names() %}
    {% set names = ['canonical_id', 'account_id', 'profile_node', 'as_of', 'made_by', 'unfit_traits', 'user_id', 'anonymous_id',
        'first_seen_at', 'last_seen_at'] %}
    {% for trait in revetl.declared_traits('profile_traits') %}
        {% do names.extend([trait.name, trait.name ~ '_set_at']) %}
    {% endfor %}
    {{ return(names) }}
{% endmacro %}

{# Names that no column has without quotes, on some engine. #}
{% macro words_of_sql() %}
    {{ return(['all', 'and', 'any', 'array', 'as', 'asc', 'between', 'both', 'by', 'case', 'cast', 'check', 'collate',
        'column', 'constraint', 'create', 'cross', 'cube', 'current', 'current_date', 'current_time',
        'current_timestamp', 'current_user', 'default', 'delete', 'desc', 'distinct', 'drop', 'else', 'end', 'except',
        'exists', 'false', 'fetch', 'for', 'foreign', 'from', 'full', 'function', 'grant', 'group', 'grouping', 'hash',
        'having', 'in', 'index', 'inner', 'insert', 'intersect', 'interval', 'into', 'is', 'join', 'key', 'lateral',
        'leading', 'left', 'like', 'limit', 'natural', 'new', 'not', 'null', 'of', 'offset', 'on', 'open', 'option',
        'or', 'order', 'outer', 'over', 'partition', 'percent', 'plan', 'primary', 'public', 'qualify', 'range',
        'references', 'right', 'rollup', 'row', 'rows', 'rule', 'schema', 'select', 'set', 'some', 'start',
        'struct', 'table', 'tag', 'then', 'to', 'top', 'trailing', 'trigger', 'true', 'union', 'unique', 'unnest',
        'update', 'use', 'user', 'using', 'values', 'view', 'when', 'where', 'window', 'with', 'within']) }}
{% endmacro %}

{# What a trait is of somebody of whom nothing is known, as SQL; none: null. A number of things is 0. #}
{% macro checked_default(at, type, given) %}
    {% if given is none %}
        {{ return('0' if type in ['sum', 'count', 'unique_list_count', 'funnel'] else 'false' if type == 'has_done' else none) }}
    {% elif given is sameas true or given is sameas false or given is number %}
        {{ return(given | string | lower) }}
    {% elif given is string %}
        {{ return(revetl.text_literal(given)) }}
    {% endif %}
    {% do revetl.wrong_trait(at ~ '.default', 'must be a number, a text, true or false') %}
{% endmacro %}

{# What a trait reads of messages: source, events (none: any), conditions, window, value (a column), and what the type
   has of its own. #}
{% macro trait_of_messages(at, type, given) %}
    {% set source = given.get('source', 'track') %}
    {% if source not in ['track', 'page', 'screen'] %}
        {% do revetl.wrong_trait(at ~ '.source', "is '" ~ source ~ "'; it must be track, page or screen") %}
    {% endif %}
    {% set found = {'source': source, 'value': none, 'steps': [], 'window': revetl.trait_window(at ~ '.window', given.get('window'))} %}
    {% do found.update(revetl.trait_events_of(at, given)) %}
    {% if type == 'funnel' %}
        {% do found.update(revetl.trait_steps(at, given)) %}
    {% elif 'property' in revetl.trait_keys(type) %}
        {% do found.update({'value': revetl.trait_place(at, given, revetl.value_kind(type, given))}) %}
    {% endif %}
    {% do revetl.check_trait_elements(at, found) %}
    {% if type == 'percentile' %}
        {% set percentile = given.get('percentile') %}
        {% if percentile is not number or percentile is boolean or percentile < 0 or percentile > 100 %}
            {% do revetl.wrong_trait(at ~ '.percentile', 'must be a number from 0 to 100, such as 90') %}
        {% endif %}
        {% do found.update({'percentile': percentile / 100}) %}
    {% elif type == 'most_frequent' %}
        {% set minimum = given.get('minimum', 2) %}
        {% if minimum is not integer or minimum is boolean or minimum < 1 %}
            {% do revetl.wrong_trait(at ~ '.minimum', 'must be a whole number from 1: how often the value has to be there') %}
        {% endif %}
        {% do found.update({'minimum': minimum}) %}
    {% endif %}
    {{ return(found) }}
{% endmacro %}

{# Raises where a condition is of an array's elements, and the trait is not made of them. #}
{% macro check_trait_elements(at, trait) %}
    {% set steps = trait.steps | map(attribute='conditions') | sum(start=[]) %}
    {% for condition in trait.conditions + steps if condition.place.element %}
        {% if not (trait.value and trait.value.element and trait.value.name == condition.place.name) %}
            {% do revetl.wrong_trait(at ~ '.where', 'names an element of ' ~ condition.place.path
                ~ '; it can where the property is one of the same array') %}
        {% elif condition.operator == 'within_last' %}
            {% do revetl.wrong_trait(at ~ '.where.within_last', 'is not for elements of an array') %}
        {% endif %}
    {% endfor %}
{% endmacro %}

{# What a type makes of a value: numbers, or texts. #}
{% macro value_kind(type, given) %}
    {% set data_type = given.get('data_type', revetl.default_data_type(type)) | string | lower %}
    {% if type in ['sum', 'avg', 'percentile'] %}
        {{ return('number') }}
    {% elif type in ['min', 'max'] and not data_type.startswith(('varchar', 'timestamp', 'date')) %}
        {{ return('number') }}
    {% endif %}
    {{ return('time' if type in ['min', 'max'] and data_type.startswith(('timestamp', 'date')) else 'text') }}
{% endmacro %}

{# Names of the events (none: any), and conditions. #}
{% macro trait_events_of(at, given) %}
    {% set event = given.get('event') %}
    {% set events = [event] if event is string else event %}
    {% if events is mapping or (events is not none and (events is not iterable or not events)) %}
        {% do revetl.wrong_trait(at ~ '.event', 'must be the name of an event or a list of them, such as Order Completed') %}
    {% endif %}
    {% set conditions = [] %}
    {% set where = given.get('where') or [] %}
    {% for condition in ([where] if where is mapping or where is string else where) %}
        {% do conditions.append(revetl.trait_condition(at ~ '.where', condition)) %}
    {% endfor %}
    {{ return({'events': events, 'conditions': conditions}) }}
{% endmacro %}

{# The steps of a funnel, and the days it may take. #}
{% macro trait_steps(at, given) %}
    {% set steps = given.get('steps') %}
    {% if steps is string or steps is mapping or steps is not iterable or steps | length < 2 %}
        {% do revetl.wrong_trait(at ~ '.steps', 'must be a list of two events or more, in their order') %}
    {% endif %}
    {% set found = [] %}
    {% for step in steps %}
        {% set own = {'event': step} if step is string else step %}
        {% do revetl.check_trait_mapping(at ~ '.steps', own, ['event', 'where']) %}
        {% do revetl.check_trait_text(at ~ '.steps', own.get('event'), 'events, such as [Product Viewed, Order Completed]') %}
        {% do found.append(revetl.trait_events_of(at ~ '.steps', own)) %}
    {% endfor %}
    {% set within = none %}
    {% if given.get('within') is not none %}
        {% set within = revetl.trait_hours(at ~ '.within', given.within) %}
    {% endif %}
    {{ return({'steps': found, 'within_hours': within, 'events': found | map(attribute='events') | sum(start=[])}) }}
{% endmacro %}

{# Raises unless a value is a mapping (or nothing) of keys that are known. #}
{% macro check_trait_mapping(at, value, keys=none) %}
    {% if value is not mapping %}
        {% do revetl.wrong_trait(at, "is '" ~ value ~ "'; it must be a mapping") %}
    {% endif %}
    {% for key in value if keys and key not in keys %}
        {% do revetl.wrong_trait(at ~ '.' ~ key, 'is not known; the keys here are ' ~ keys | join(', ')) %}
    {% endfor %}
{% endmacro %}

{% macro check_trait_text(at, value, what) %}
    {% if value is not string or not value | trim %}
        {% do revetl.wrong_trait(at, 'must be ' ~ what) %}
    {% endif %}
{% endmacro %}

{# `at` is a place in the variables, or a macro that was called. #}
{% macro wrong_trait(at, what) %}
    {% set place = at if at.startswith('did') or at.startswith('trait(') else 'vars.revetl.' ~ at %}
    {% do exceptions.raise_compiler_error(place ~ ' ' ~ what ~ '.') %}
{% endmacro %}

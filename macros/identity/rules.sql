{# The identity rules: the variable `identity`, with what it leaves out filled in, and checked. A mapping of
   - `types`: the identifiers, first in priority first: `name`, `rank` (from 1), `normalise` (steps),
     `blocked` (values and /patterns/) and `limits` (window to number of values; windows are `ever`, `week`,
     `month` and `year`);
   - `models`: where they are seen: model to `source`, `message_id`, `timestamp` and `identifiers` (name to the
     SQL expressions of it);
   - `blocked`: the values and /patterns/ that are blocked for all of them.
   An error names the key. #}
{% macro identity_rules() %}
    {% set given = var('identity', none) %}
    {% do revetl.check_identity_rules(given) %}
    {% set given = given or {} %}
    {% set identifiers = given.get('identifiers') or {'user_id': {}, 'email': {}, 'anonymous_id': {}} %}
    {% set priority = given.get('priority') or ['user_id', 'email'] %}
    {% set blocked = given.get('blocked', revetl.default_blocked_values()) or [] %}
    {% set models = revetl.identity_models(given.get('models') or {}, identifiers) %}
    {% set types = [] %}
    {% set names = priority | select('in', identifiers) | list %}
    {% for name in names + (identifiers | reject('in', names) | sort) %}
        {% set own = identifiers[name] or {} %}
        {% set standard = revetl.standard_identifiers().get(name, {}) %}
        {% set steps = own.get('normalize', own.get('normalise', standard.get('normalize', []))) %}
        {% do types.append({
            'name': name,
            'rank': loop.index,
            'normalise': [steps] if steps is string or steps is mapping else steps or [],
            'blocked': blocked + (own.get('blocked') or []),
            'limits': revetl.identifier_limits(own.get('limit', 1 if name == 'user_id' else 5)),
        }) %}
    {% endfor %}
    {{ return({'types': types, 'models': models, 'blocked': blocked}) }}
{% endmacro %}

{# What programs and people write where nothing is known: JavaScript, Python, other languages, spreadsheets (of which a
   number in scientific notation has lost digits), and people. #}
{% macro default_blocked_values() %}
    {{ return([
        '/^[0-]*$/', '-1', 'anonymous', 'unknown', 'n/a',
        'null', 'undefined', 'nan', '-nan', 'infinity', '-infinity', 'true', 'false', '[object object]', '[object null]',
        '[object undefined]', 'none', 'inf', '-inf', '<na>', 'nil', '<nil>', '<null>', '(null)', '(none)', '(not set)',
        '#n/a', '#ref!', '#value!', '#name?', '#null!', '#num!', '#div/0!', '#error!', '#spill!', '#calc!', '#field!',
        '#getting_data', '/^-?[0-9]([.,][0-9]+)?[eE][+][0-9]+$/', '',
    ]) }}
{% endmacro %}

{# What a well-known identifier is where a project says no more than its name. #}
{% macro standard_identifiers() %}
    {{ return({
        'user_id': {'column': 'user_id'},
        'anonymous_id': {'column': 'anonymous_id'},
        'email': {'trait': 'email', 'normalize': ['trim', 'lower']},
        'phone': {'trait': 'phone', 'normalize': ['trim']},
        'device_id': {'context': 'device.id'},
        'advertising_id': {'context': 'device.advertisingId', 'normalize': ['lower']},
    }) }}
{% endmacro %}

{# A limit as a window-to-number mapping: 5 is 5 ever, `none` is no limit. #}
{% macro identifier_limits(limit) %}
    {{ return(limit if limit is mapping else {} if limit is none or limit == 'none' else {'ever': limit}) }}
{% endmacro %}

{# The models that identifiers are seen in: the messages, and what `models` adds. #}
{% macro identity_models(given, identifiers) %}
    {% set models = {} %}
    {% for model, source in revetl.message_models().items() %}
        {% do models.update({model: {
            'source': source, 'message_id': 'message_id', 'timestamp': 'timestamp', 'identifiers': {}}}) %}
    {% endfor %}
    {% for model, own in given.items() %}
        {% if model not in models %}
            {% do models.update({model: {
                'source': model, 'message_id': own.message_id, 'timestamp': own.timestamp, 'identifiers': {}}}) %}
        {% endif %}
    {% endfor %}
    {% for name in ['user_id', 'anonymous_id'] if name in identifiers %}
        {% do revetl.add_expression(models['stg_revetl__aliases'], 'previous_' ~ name, 'previous_id') %}
    {% endfor %}
    {% for name in identifiers %}
        {% set own = identifiers[name] or {} %}
        {% set standard = revetl.standard_identifiers().get(name, {}) %}
        {% set placed = own if revetl.is_placed(own) or revetl.is_elsewhere(name, given) else standard %}
        {% if placed.get('column') %}
            {% for model, source in revetl.message_models().items() if source != 'alias' or name == 'user_id' %}
                {% do revetl.add_expression(models[model], name, placed.column) %}
            {% endfor %}
        {% endif %}
        {% if placed.get('context') %}
            {% for model, source in revetl.message_models().items() if source != 'alias' %}
                {% do revetl.add_expression(models[model], name, revetl.json_path_text('context', placed.context)) %}
            {% endfor %}
        {% endif %}
        {% if placed.get('trait') %}
            {% do revetl.add_expression(models['stg_revetl__identifies'], name, revetl.json_path_text('traits', placed.trait)) %}
        {% endif %}
        {% if placed.get('property') %}
            {% do revetl.add_expression(
                models['stg_revetl__tracks'], name, revetl.json_path_text('properties', placed.property)) %}
        {% endif %}
        {% for model, source in given.items() if name in source.get('identifiers', {}) %}
            {% do revetl.add_expression(models[model], name, source.identifiers[name]) %}
        {% endfor %}
    {% endfor %}
    {{ return(models) }}
{% endmacro %}

{% macro add_expression(model, name, expression) %}
    {% do model.identifiers.update({name: model.identifiers.get(name, []) + [expression]}) %}
{% endmacro %}

{# Whether an identifier says itself where in the messages it is. #}
{% macro is_placed(own) %}
    {{ return(['column', 'context', 'trait', 'property'] | select('in', own) | list | length > 0) }}
{% endmacro %}

{# Whether `models` says where an identifier is that is none of the well-known ones. #}
{% macro is_elsewhere(name, models) %}
    {% set found = [] %}
    {% for model in models.values() if name in model.get('identifiers', {}) %}
        {% do found.append(model) %}
    {% endfor %}
    {{ return(found | length > 0 and name not in revetl.standard_identifiers()) }}
{% endmacro %}

{# The staging models of messages, and their type. #}
{% macro message_models() %}
    {{ return({
        'stg_revetl__tracks': 'track',
        'stg_revetl__identifies': 'identify',
        'stg_revetl__pages': 'page',
        'stg_revetl__screens': 'screen',
        'stg_revetl__groups': 'group',
        'stg_revetl__aliases': 'alias',
    }) }}
{% endmacro %}

{# The identifier columns of a message: one a type, and those of an alias's previous id. #}
{% macro identifier_columns(rules) %}
    {% set columns = [] %}
    {% for type in rules.types %}
        {% do columns.append(dict(type, type=type.name)) %}
    {% endfor %}
    {% for type in rules.types if type.name in ['user_id', 'anonymous_id'] %}
        {% do columns.append(dict(type, type=type.name, name='previous_' ~ type.name)) %}
    {% endfor %}
    {{ return(columns) }}
{% endmacro %}

{# The first of some expressions that is not null. #}
{% macro first_of(expressions) -%}
    {% if expressions | length > 1 -%}
    coalesce({{ expressions | join(', ') }})
    {%- else -%}
    {{ expressions[0] if expressions else 'cast(null as ' ~ revetl.type_of('varchar') ~ ')' }}
    {%- endif %}
{%- endmacro %}

{# A relation of the project by its name, one of this package's staging models, or a source by schema.table. #}
{% macro model_or_source(name) %}
    {% if name.startswith('stg_revetl__') %}
        {{ return(ref('revetl', name)) }}
    {% endif %}
    {{ return(source(*name.split('.')) if '.' in name else ref(name)) }}
{% endmacro %}

{# The limits that hold within some days: `type`, `window`, `days` and `most`. #}
{% macro limits_within_days() %}
    {% set limits = [] %}
    {% for type in revetl.identity_rules().types %}
        {% for window, days in {'week': 7, 'month': 30, 'year': 365}.items() if window in type.limits %}
            {% do limits.append({'type': type.name, 'window': window, 'days': days, 'most': type.limits[window]}) %}
        {% endfor %}
    {% endfor %}
    {{ return(limits) }}
{% endmacro %}

{# How many of some columns are not null. #}
{% macro count_of(columns) -%}
    {% for column in columns -%}
    case when {{ column }} is not null then 1 else 0 end{{ ' + ' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

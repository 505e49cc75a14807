{# A project's own models in the place of the package's: `vars: revetl: overrides: {stg_revetl__tracks: acme_tracks}`.
   Ours is then a view of theirs, so that whatever reads ours (identity, traits, the tracking plan, conditions of
   audiences, revetl's commands) has their rows. #}

{# The models that may be replaced, with the columns that the replacement must have, and those that are null where it
   has none. #}
{% macro overridable() %}
    {% set message = ['message_id', 'user_id', 'anonymous_id', 'timestamp'] %}
    {% set about = {
        'context': 'json', 'is_clock_ahead': 'boolean', 'original_timestamp': 'timestamp', 'sent_at': 'timestamp',
        'received_at': 'timestamp', 'loaded_at': 'timestamp', 'source_id': 'varchar',
    } %}
    {% set found = {} %}
    {% for name, own in {
        'tracks': ['event', 'event_text', 'properties'], 'identifies': ['traits'], 'pages': ['name', 'category', 'properties'],
        'screens': ['name', 'category', 'properties'], 'groups': ['group_id', 'traits'], 'aliases': ['previous_id'],
    }.items() %}
        {% do found.update({'stg_revetl__' ~ name: {'required': message + own, 'optional': about}}) %}
    {% endfor %}
    {% do found.update({'revetl_profiles': {
        'required': ['canonical_id'],
        'optional': {'user_id': 'varchar', 'anonymous_id': 'varchar', 'first_seen_at': 'timestamp', 'last_seen_at': 'timestamp'},
    }}) %}
    {{ return(found) }}
{% endmacro %}

{# Ours to theirs, by name. A macro that `dbt run-operation` runs does not see the variables under `revetl:`. #}
{% macro overrides() %}
    {# Unit tests have no graph. #}
    {% set project = (graph.nodes or {}).get('model.revetl.int_revetl__project') if execute else none %}
    {{ return(project.config.meta.overrides if project else var('overrides', none) or {}) }}
{% endmacro %}

{# The name of the model that stands in the place of one of ours; none where none does. #}
{% macro override_of(name) %}
    {% set overrides = revetl.overrides() %}
    {% set at = 'dbt_project.yml: vars.revetl.overrides' %}
    {% if overrides is not mapping %}
        {% do exceptions.raise_compiler_error(at ~ " is '" ~ overrides ~ "'; it must be a mapping, such as {stg_revetl__tracks: acme_tracks}.") %}
    {% endif %}
    {% for given, own in overrides.items() %}
        {% if given not in revetl.overridable() %}
            {% do exceptions.raise_compiler_error(at ~ ': ' ~ given ~ ' cannot be replaced; these can: '
                ~ revetl.overridable() | join(', ') ~ '.') %}
        {% elif own is not string or own == given %}
            {% do exceptions.raise_compiler_error(at ~ '.' ~ given ~ " is '" ~ own ~ "'; it must be the name of another model.") %}
        {% endif %}
    {% endfor %}
    {{ return(overrides.get(name)) }}
{% endmacro %}

{# The query of the rows of the model that stands in the place of one of ours: all of its columns, and nulls for ours
   that it may do without. Raises an error for one that it may not. #}
{% macro standing_in(name) %}
    {% set own = revetl.override_of(name) %}
    {% set relation = ref(own) %}
    {% set missing = [] %}
    {% set lacking = [] %}
    {# There is none before the first build, in `dbt compile`. #}
    {% if execute and relation.schema and load_cached_relation(relation) is not none %}
        {# A query begins no transaction, which adapter.get_columns_in_relation does, and `at_once` would not end. #}
        {% set there = run_query('select * from ' ~ relation ~ ' where 1 = 0').column_names | map('lower') | list %}
        {% set asked = revetl.overridable()[name] %}
        {% for column in asked.required if column not in there %}
            {% do lacking.append(column) %}
        {% endfor %}
        {% if lacking %}
            {% do exceptions.raise_compiler_error(own ~ ', which stands in the place of ' ~ name
                ~ ' (dbt_project.yml: vars.revetl.overrides), has no column ' ~ lacking | join(', ') ~ '. It must have '
                ~ asked.required | join(', ') ~ '; see docs/how-to/overrides.md.') %}
        {% endif %}
        {% for column, type in asked.optional.items() if column not in there %}
            {% do missing.append('cast(null as ' ~ revetl.type_of(type) ~ ') as ' ~ revetl.quoted(column)) %}
        {% endfor %}
    {% endif %}
    {{ return('select ' ~ (['own.*'] + missing) | join(', ') ~ ' from ' ~ relation ~ ' as own') }}
{% endmacro %}

{# The raw messages of a type for the tracking plan and for `revetl pii scan`: the raw table, or the model that stands in
   the place of its staging, with the raw table's names. #}
{% macro raw_messages(name, documents=[]) %}
    {% set staging = 'stg_revetl__' ~ name %}
    {% if not revetl.override_of(staging) %}
        {{ return(revetl.raw_table(name)) }}
    {% endif %}
    {% set columns = ['user_id', 'anonymous_id', 'context', 'timestamp', 'received_at', 'source_id'] + documents %}
    {{ return('(select message_id as id, loaded_at as uuid_ts, ' ~ columns | join(', ') ~ ' from ('
        ~ revetl.standing_in(staging) ~ ') as own) as landed') }}
{% endmacro %}

{# The columns of revetl_profiles with our types, as `trait()` compares them; of a project's own profiles, as the warehouse
   has them. Nothing where they were not built yet. #}
{% macro profile_types() %}
    {% set meta = graph.nodes['model.revetl.revetl_profiles'].config.meta %}
    {% if not meta.get('stands_for') %}
        {{ return(meta['columns']) }}
    {% endif %}
    {% set types = {} %}
    {% set node = graph.nodes['model.revetl.revetl_profiles'] %}
    {% set relation = adapter.get_relation(database=node.database, schema=node.schema, identifier=node.alias or node.name) %}
    {% if relation is not none %}
        {% for column in adapter.get_columns_in_relation(relation) %}
            {% set type = column.dtype | lower %}
            {% set found = namespace(type='varchar') %}
            {% for part, ours in [('date', 'date'), ('time', 'timestamp'), ('int', 'bigint'), ('long', 'bigint'), ('num', 'decimal'),
                ('dec', 'decimal'), ('double', 'double'), ('float', 'double'), ('real', 'double'), ('bool', 'boolean'), ('bit', 'boolean'),
                ('json', 'json'), ('variant', 'json')] if part in type %}
                {% set found.type = ours %}
            {% endfor %}
            {% do types.update({revetl.name_in_yaml(column): found.type}) %}
        {% endfor %}
    {% endif %}
    {{ return(types) }}
{% endmacro %}
